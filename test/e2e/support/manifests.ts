/** Manifests of test VMs: the tiny guest with cheap defaults, and what a test says on top. */
import { API_VERSION } from '../../../crds/api.ts';
import type { VirtualMachine } from '../../../crds/virtual-machine.ts';
import type { OperationType, VirtualMachineOperation } from '../../../crds/virtual-machine-operation.ts';
import { tinyImage } from './release.ts';

type Spec = VirtualMachine['spec'];

export interface TinyVm extends Partial<Spec> {
  labels?: Record<string, string>;
  /** Parameters for the guest, such as `vmstead.panic=5`, beside the usual ones. */
  guest?: string;
}

/** A VM that boots the tiny guest's kernel, with no disk and no network unless asked for. */
export function tinyVm(name: string, { labels, guest = '', ...spec }: TinyVm = {}): VirtualMachine {
  return {
    apiVersion: API_VERSION,
    kind: 'VirtualMachine',
    metadata: { name, ...(labels ? { labels } : {}) },
    spec: {
      runStrategy: 'Always',
      memory: { size: '128Mi' },
      kernel: {
        image: tinyImage,
        pullPolicy: 'IfNotPresent',
        // Uncompressed: it boots a quarter sooner than /boot/vmlinuz, but not from UEFI.
        path: '/boot/vmlinux',
        initrdPath: '/boot/initrd.img',
        commandLine: `console=ttyS0 quiet panic=-1 no_timer_check vmstead.heartbeat=2 ${guest}`.trim(),
      },
      terminationGracePeriodSeconds: 30,
      ...spec,
    },
  };
}

/** A blank disk in a claim of its own. */
export const blankDisk = (name: string, size = '64Mi', reclaimPolicy: 'Retain' | 'Delete' = 'Delete') => ({
  name,
  source: { blank: {} },
  claim: { size, reclaimPolicy },
});

/** A disk on a claim that is there. */
export const claimDisk = (name: string, claim: string) => ({ name, source: { claim: { name: claim } } });

/** The pod network, with HTTP. */
export const podNetwork = { name: 'default', pod: {}, ports: [{ name: 'http', port: 80 }] };

/** Guest parameters that make it write to a disk as the judge of `test/guests/sectors.ts` wants it. */
export const sectorWriter = (disk: string) =>
  `vmstead.sectors=serial:${disk} vmstead.sectors.slots=512 vmstead.sectors.report=50`;

export function operation(
  name: string,
  virtualMachine: string,
  type: OperationType,
  more: Partial<VirtualMachineOperation['spec']> = {},
): VirtualMachineOperation {
  return {
    apiVersion: API_VERSION,
    kind: 'VirtualMachineOperation',
    metadata: { name },
    spec: { virtualMachine, type, ...more },
  };
}

/** A claim made by a person. */
export function claim(name: string, spec: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '64Mi' } }, ...spec },
  };
}

/** A pod that runs busybox until it is told what to do. */
export function clientPod(name: string, image: string, node?: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'main',
          image,
          command: ['/bin/busybox', 'sleep', '100000'],
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}
