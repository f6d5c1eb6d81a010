/** The commands. What a command does is loaded when it runs, so that help and completion are quick. */
import type { Invocation } from './invocation.ts';
import type { OptionName } from './options.ts';

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** What follows the name in the usage line. */
  readonly usage: string;
  /** How many arguments it takes. */
  readonly minNames: number;
  readonly maxNames: number;
  readonly options: readonly OptionName[];
  readonly details?: string;
  readonly examples: readonly string[];
  readonly run: (invocation: Invocation) => Promise<void>;
}

const ANY = Number.POSITIVE_INFINITY;

function power(
  type: 'Start' | 'Stop' | 'Restart' | 'Reset' | 'Pause' | 'Resume',
  texts: {
    summary: string;
    details: string;
  },
): Command {
  const name = type.toLowerCase();
  const forcible = type === 'Stop' || type === 'Restart';
  return {
    name,
    summary: texts.summary,
    usage: 'VM...',
    minNames: 1,
    maxNames: ANY,
    options: [...(forcible ? (['force'] as const) : []), 'no-wait', 'timeout'],
    details: `${texts.details}\nIt makes a VirtualMachineOperation and waits for its result; the VM's spec stays untouched.`,
    examples: [`kubectl vm ${name} web`, ...(forcible ? [`kubectl vm ${name} web --force`] : [])],
    run: async (invocation) => (await import('./power.ts')).power(type, invocation),
  };
}

export const COMMANDS: readonly Command[] = [
  {
    name: 'console',
    summary: "The guest's serial console in this terminal",
    usage: 'VM',
    minNames: 1,
    maxNames: 1,
    options: ['timeout'],
    details:
      'Ctrl-] leaves. A VM that does not run yet is waited for, --timeout long.\nInside the console the guest writes to the terminal as it is.',
    examples: ['kubectl vm console web'],
    run: async (invocation) => (await import('./console/command.ts')).console(invocation),
  },
  {
    name: 'logs',
    summary: 'What the guest wrote to its serial console',
    usage: 'VM',
    minNames: 1,
    maxNames: 1,
    options: ['follow', 'tail', 'previous'],
    details: 'Control characters and escape sequences of the guest are taken out.',
    examples: ['kubectl vm logs web --tail 20', 'kubectl vm logs web -f', 'kubectl vm logs web --previous'],
    run: async (invocation) => (await import('./logs.ts')).logs(invocation),
  },
  power('Start', {
    summary: 'Start a VM that is off',
    details: 'A VM that a Stop holds off, or one with runStrategy Manual, runs again.',
  }),
  power('Stop', {
    summary: 'Stop a VM and hold it off',
    details:
      'The guest is asked to power itself off (ACPI) and has spec.terminationGracePeriodSeconds to do so.\nThe VM stays off until a start, or until spec.runStrategy changes.',
  }),
  power('Restart', {
    summary: 'Stop a VM and start it in a new pod',
    details: 'Changes of the spec that wait for a restart take effect.',
  }),
  power('Pause', { summary: "Hold a VM's CPUs; its memory stays", details: 'The guest does not notice.' }),
  power('Resume', { summary: 'Let a paused VM go on', details: 'The guest goes on where it was.' }),
  power('Reset', {
    summary: "Press a VM's reset button",
    details: 'The machine starts again in the same pod; the guest is not asked and loses unsaved data.',
  }),
  {
    name: 'snapshot',
    summary: 'Keep the disks of a VM as they are now, and its memory',
    usage: 'VM',
    minNames: 1,
    maxNames: 1,
    options: ['memory', 'no-wait', 'timeout'],
    details:
      'It makes a VirtualMachineSnapshot and waits until it is ready. The guest goes on meanwhile.\nWith --memory the VM needs spec.state, with room for its memory.',
    examples: ['kubectl vm snapshot web', 'kubectl vm snapshot web --memory'],
    run: async (invocation) => (await import('./snapshot.ts')).snapshot(invocation),
  },
  {
    name: 'restore',
    summary: 'Take a VM back to a snapshot',
    usage: 'VM [SNAPSHOT]',
    minNames: 1,
    maxNames: 2,
    options: ['last-valid', 'no-wait', 'timeout'],
    details:
      'It makes a VirtualMachineRestore and waits for its result. A VM that runs is stopped first, and runs afterwards.',
    examples: ['kubectl vm restore web web-x7k2p', 'kubectl vm restore web --last-valid'],
    run: async (invocation) => (await import('./snapshot.ts')).restore(invocation),
  },
  {
    name: 'export',
    summary: 'Write a disk of a VM to a file of this machine',
    usage: 'VM',
    minNames: 1,
    maxNames: 1,
    options: ['output', 'disk', 'snapshot', 'timeout'],
    details:
      'The ending of the file tells its format: .qcow2, .raw, .img, .vmdk (stream-optimised) or .vhdx.\nThe VM goes on; the file has the disk as it was when the command began. Broken off, the same command goes on with FILE.part.\n--timeout is the longest wait without progress. The SHA-256 checksum of the file is printed at the end.',
    examples: [
      'kubectl vm export web -o web.qcow2',
      'kubectl vm export web --disk data --snapshot web-x7k2p -o data.vmdk',
    ],
    run: async (invocation) => (await import('./export/command.ts')).exportDisk(invocation),
  },
  {
    name: 'clone',
    summary: 'A new VM with copies of the disks of another one',
    usage: 'VM NEW',
    minNames: 2,
    maxNames: 2,
    options: ['snapshot', 'linked', 'timeout'],
    details:
      'It makes a snapshot of VM, running or off, an image of each of its disks, and VM NEW from them with the same\nspec and a UUID, MAC addresses and cloud-init instance of its own. The memory of VM is no part of it.\nWhat is not needed any more goes again; with --linked the images stay.',
    examples: ['kubectl vm clone web web2', 'kubectl vm clone web web2 --snapshot before-upgrade --linked'],
    run: async (invocation) => (await import('./clone.ts')).clone(invocation),
  },
  {
    name: 'describe',
    summary: 'State of a VM: what, why, since when, what to do',
    usage: '[VM...]',
    minNames: 0,
    maxNames: ANY,
    options: ['all-namespaces'],
    details: 'Without a name: every VM of the namespace.',
    examples: ['kubectl vm describe web', 'kubectl vm describe -A'],
    run: async (invocation) => (await import('./describe/command.ts')).describe(invocation),
  },
  {
    name: 'image',
    summary: 'Disk images: list them, or send one from this machine',
    usage: 'list|upload [NAME FILE]',
    minNames: 1,
    maxNames: 3,
    options: ['all-namespaces', 'size', 'storage-class', 'timeout'],
    details:
      'upload makes VirtualMachineImage NAME where there is none, sends the file by port-forward and waits until it is ready.\nIt takes qcow2, raw, VMDK, VDI, VHD, VHDX and ISO files, also in gz, xz, zst or bz2. Broken off, the same command goes on where it ended.',
    examples: ['kubectl vm image list', 'kubectl vm image upload debian debian-12.qcow2'],
    run: async (invocation) => (await import('./image/command.ts')).image(invocation),
  },
  {
    name: 'version',
    summary: 'Versions of this command, of Kubernetes and of the API',
    usage: '',
    minNames: 0,
    maxNames: 0,
    options: ['client'],
    examples: ['kubectl vm version --client'],
    run: async (invocation) => (await import('./version.ts')).version(invocation),
  },
  {
    name: 'completion',
    summary: 'Script for the completion of this command by a shell',
    usage: 'bash|zsh|fish',
    minNames: 1,
    maxNames: 1,
    options: [],
    examples: ['source <(kubectl vm completion bash)'],
    run: async (invocation) => (await import('./completion/scripts.ts')).completion(invocation),
  },
];
