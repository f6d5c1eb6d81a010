/** What the operator tells Prometheus of all VMs; what a running one does, its own launcher tells. */
import { Gauge, Histogram, type Registry } from 'prom-client';
import { phase as phases, type VirtualMachineStatus } from '../../crds/virtual-machine-status.ts';
import type { StoredVirtualMachine } from './resources.ts';

/** Seconds; from a direct kernel boot under KVM to a large guest under emulation. */
const START_SECONDS = [0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300];

export class FleetMetrics {
  readonly #start: Histogram<'stage'>;

  /** `vms` gives the leader's view at each scrape: nothing is counted twice, and nothing is left of a deleted VM. */
  constructor(registry: Registry, vms: () => Iterable<StoredVirtualMachine>) {
    const registers = [registry];
    const conditionIs = (vm: StoredVirtualMachine, type: string) =>
      vm.status?.conditions?.some((each) => each.type === type && each.status === 'True') === true;
    new Gauge({
      name: 'vmstead_vms',
      help: 'VirtualMachines by phase.',
      labelNames: ['phase'],
      registers,
      collect() {
        this.reset();
        for (const each of phases.options) this.set({ phase: each }, 0);
        for (const vm of vms()) this.inc({ phase: vm.status?.phase ?? 'Pending' });
      },
    });
    new Gauge({
      name: 'vmstead_vm_info',
      help: 'One for each VirtualMachine, with what was decided for it.',
      labelNames: ['namespace', 'name', 'phase', 'node', 'acceleration', 'machine_type'],
      registers,
      collect() {
        this.reset();
        for (const { metadata, status } of vms()) {
          this.set(
            {
              namespace: metadata.namespace ?? '',
              name: metadata.name,
              phase: status?.phase ?? 'Pending',
              node: status?.launcher?.node ?? '',
              acceleration: status?.resolved?.acceleration ?? '',
              machine_type: status?.resolved?.machineType ?? '',
            },
            1,
          );
        }
      },
    });
    for (const [name, help, type] of [
      [
        'vmstead_vm_ready',
        '1 while the VM is in the state that its spec and its last operation ask for.',
        'Ready',
      ],
      [
        'vmstead_vm_restart_required',
        '1 while changed fields of the spec wait for the next start.',
        'RestartRequired',
      ],
      ['vmstead_vm_paused', '1 while the guest is paused, by a person or by a disk.', 'Paused'],
    ] as const) {
      new Gauge({
        name,
        help,
        labelNames: ['namespace', 'name'],
        registers,
        collect() {
          this.reset();
          for (const vm of vms()) {
            const { namespace = '', name: vmName } = vm.metadata;
            this.set({ namespace, name: vmName }, conditionIs(vm, type) ? 1 : 0);
          }
        },
      });
    }
    this.#start = new Histogram({
      name: 'vmstead_vm_start_duration_seconds',
      help: 'Time from the creation of the launcher pod until the machine ran and until the guest said that it was up.',
      labelNames: ['stage'],
      buckets: START_SECONDS,
      registers,
    });
  }

  /** Counts the stages that a start has reached with this status and had not before. */
  observe(before: VirtualMachineStatus | undefined, after: VirtualMachineStatus): void {
    const sameRun = before?.launcher?.podUID === after.launcher?.podUID;
    const created = Date.parse(after.startup?.createdAt ?? '');
    for (const [stage, key] of [
      ['machine_ready', 'machineReadyAt'],
      ['guest_up', 'guestUpAt'],
    ] as const) {
      const at = after.startup?.[key];
      if (at === undefined || (sameRun && before?.startup?.[key] !== undefined)) continue;
      const seconds = (Date.parse(at) - created) / 1000;
      if (seconds >= 0) this.#start.observe({ stage }, seconds);
    }
  }
}
