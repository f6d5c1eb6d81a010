import { API_VERSION } from '../../crds/api.ts';
import type { VirtualMachineSnapshotSchedule } from '../../crds/virtual-machine-snapshot-schedule.ts';
import type { KubeObject } from '../kube/object.ts';
import { define } from '../kube/resources.ts';

export type StoredSchedule = Omit<VirtualMachineSnapshotSchedule, 'metadata'> & KubeObject;

export const virtualmachinesnapshotschedules = define<StoredSchedule>(
  API_VERSION,
  'VirtualMachineSnapshotSchedule',
  'virtualmachinesnapshotschedules',
);
