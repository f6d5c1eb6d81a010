/** What `npm start` reads of a VirtualMachine; every field may be missing while it starts. */
export interface VirtualMachineView {
  metadata: { name: string; namespace: string };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    resolved?: { acceleration?: string };
    launcher?: { node?: string; podName?: string };
    interfaces?: { ips?: string[] }[];
    startup?: { createdAt?: string; scheduledAt?: string; machineReadyAt?: string; guestUpAt?: string };
  };
}

function condition(
  vm: VirtualMachineView,
  type: string,
): { status: string; reason?: string; message?: string } | undefined {
  return vm.status?.conditions?.find((candidate) => candidate.type === type);
}

/** Whether the guest itself has said that it is up. */
export function vmIsUp(vm: VirtualMachineView): boolean {
  return condition(vm, 'GuestReady')?.status === 'True';
}

/** What is being waited for, in the VM's own words. */
export function waitingFor(vm: VirtualMachineView): string {
  const ready = condition(vm, 'Ready');
  const guest = condition(vm, 'GuestReady');
  const saying = ready?.status === 'True' ? guest : (ready ?? guest);
  return saying?.message ?? saying?.reason ?? vm.status?.phase ?? 'the operator has not seen it yet';
}

function seconds(from: string | undefined, to: string | undefined): string {
  if (from === undefined || to === undefined) return 'unknown';
  return `${((Date.parse(to) - Date.parse(from)) / 1000).toFixed(1)} s`;
}

/** The first lines of the guest's console that have words in them, without anything that could move the cursor. */
export function guestWords(log: string, count = 3): string[] {
  return (
    log
      .split('\n')
      .map((line) => line.replaceAll(/[^\x20-\x7e]/g, '').trim())
      .filter((line) => line !== '')
      // The launcher's own lines in the same log.
      .filter((line) => !line.startsWith('{"level":'))
      .slice(0, count)
  );
}

/** The lines that show that a VM runs: where, how, since when, and what it says itself. */
export function proof(vm: VirtualMachineView, log: string): string {
  const { launcher, resolved, interfaces, startup } = vm.status ?? {};
  const created = startup?.createdAt;
  const rows = [
    ['node', launcher?.node ?? 'unknown'],
    ['IP', interfaces?.flatMap(({ ips }) => ips ?? []).join(', ') || 'none'],
    ['acceleration', resolved?.acceleration ?? 'unknown'],
    [
      'start-up',
      `scheduled ${seconds(created, startup?.scheduledAt)}, machine runs ${seconds(created, startup?.machineReadyAt)}, guest up ${seconds(created, startup?.guestUpAt)} after it was created`,
    ],
  ];
  return [
    `VM ${vm.metadata.namespace}/${vm.metadata.name} is up.`,
    ...rows.map(([name, value]) => `  ${name?.padEnd(13)} ${value}`),
    '  the guest says',
    ...guestWords(log).map((line) => `    ${line}`),
  ].join('\n');
}
