/**
 * Every error code of Vmstead: what it means and what to do. `docs/errors.md` is made from this table.
 *
 * The file imports nothing, so that the launcher can use it at no cost.
 */

interface ErrorText {
  /** One line: what happened. */
  readonly meaning: string;
  /** What a person does next. */
  readonly action: string;
}

/** Codes are written like the reasons of conditions, since many of them become one. */
export const ERRORS = {
  // The launcher: how a run ends (codes of a termination message).
  MachineRefused: {
    meaning: 'QEMU refused the machine that was described to it, or the description itself is unusable.',
    action:
      'Read the message in status.lastRun: it has the words of QEMU. Change the field of the spec that it names.',
  },
  DiskBusy: {
    meaning: 'Another process holds the lock of a disk, so this VM was not started on it.',
    action:
      'Find who uses the claim: kubectl describe pvc. The VM starts by itself when the other one has ended.',
  },
  DiskUnusable: {
    meaning:
      'A disk is missing, is no disk of the expected format, refers to other files, or cannot be opened.',
    action:
      'Read the message in status.lastRun: it names the disk and the file. Put a usable disk in its place.',
  },
  SnapshotUnusable: {
    meaning:
      'A snapshot cannot be taken or gone back to: a layer or the memory is damaged or missing, or the machine is another one now.',
    action:
      'Read the message: it names what is wrong. kubectl get vmsnap shows the others; spec.lastValid takes the newest that is whole.',
  },
  SnapshotNoRoom: {
    meaning: 'There is no room for a snapshot; nothing was touched.',
    action: 'Enlarge the claim that the message names, or delete older snapshots.',
  },
  SnapshotWaits: {
    meaning: 'A snapshot cannot be taken just now, and is tried again by itself.',
    action: 'Nothing; the message says what is waited for.',
  },
  ExportWaits: {
    meaning: 'A disk cannot be exported just now: another export, a snapshot or a copy goes on.',
    action: 'Nothing: kubectl vm export waits for it, --timeout long.',
  },
  ExportLost: {
    meaning: 'The moment that was being exported is there no more.',
    action:
      'Export again. Where the guest writes much meanwhile, take a snapshot first and export that with --snapshot.',
  },
  ExportFailed: {
    meaning: 'A disk could not be exported.',
    action: 'Read the message. Where there is a .part file, the same command goes on with it.',
  },
  QemuFailed: {
    meaning: 'QEMU ended by itself with an error.',
    action: 'Read the last lines of kubectl vm logs --previous; they hold the words of QEMU.',
  },
  QemuKilled: {
    meaning: 'QEMU was killed by a signal that Vmstead did not send, often for lack of memory.',
    action:
      'Look for OOMKilled in kubectl describe pod; then raise spec.resources or find who sent the signal.',
  },
  GuestPanic: {
    meaning: 'The kernel of the guest panicked.',
    action: 'Read its last words: kubectl vm logs --previous.',
  },

  // The mover: why an image was not made (codes of a moverResult).
  ImageUnusable: {
    meaning:
      'What came from the source is no disk image that Vmstead takes: damaged, cut off, encrypted, in several files, or made on top of another image.',
    action:
      'Read the message in the status of the VirtualMachineImage. qemu-img convert -O qcow2 makes one self-contained file of most images.',
  },
  ImageTooLarge: {
    meaning: 'The image, or what a compressed file becomes, is larger than may be.',
    action: 'Give the claim of the VirtualMachineImage more room, or take a smaller image.',
  },
  ImageSizeUnknown: {
    meaning: 'The source does not tell how large the image will be, so no claim can be made for it.',
    action: 'Set spec.claim.size of the VirtualMachineImage.',
  },
  ChecksumMismatch: {
    meaning: 'What the source served does not have the checksum that was asked for.',
    action: 'Check the checksum in the spec; if it is right, the source is damaged or has been changed.',
  },
  ClaimFull: {
    meaning: 'The claim of the image has no room left.',
    action: 'Raise spec.claim.size, or make room on the storage.',
  },
  ClaimUnusable: {
    meaning: 'The claim of the image cannot be written to, or holds something else.',
    action: 'Read the message: it names the file or device and the right that is missing.',
  },
  SourceRefused: {
    meaning: 'The source refused the request, has no such file, or its certificate is not trusted.',
    action: 'Check the URL, the Secret and the CA that the VirtualMachineImage names.',
  },
  SourceForbidden: {
    meaning:
      'The source, or a redirect of it, leads to an address inside the cluster or its network, which is not allowed unless asked for.',
    action: 'Use a public address, or set allowPrivateAddresses of the source if that address is meant.',
  },
  SourceLost: {
    meaning: 'The source could not be reached, broke off again and again, or was too slow.',
    action: 'The import is tried again by itself, from where it was if the source can; check the source.',
  },
  MoverInterrupted: {
    meaning: 'The pod that wrote the image was told to end before it had finished.',
    action: 'Nothing: the import goes on in another pod.',
  },
  MoverFailed: {
    meaning: 'The mover met something that nobody foresaw.',
    action: 'Read the log of the mover pod and report it.',
  },

  // The monitor (QMP).
  QmpRefused: {
    meaning: 'QEMU is alive and refused a command.',
    action:
      'The message has the words of QEMU. Retry the operation once the VM is in a state that allows it.',
  },
  QmpClosed: {
    meaning: 'QEMU ended before it answered a command; whether it was carried out is not known.',
    action: 'Look at the state of the VM and repeat the operation if it is still wanted.',
  },
  QmpTimeout: {
    meaning: 'QEMU did not answer a command in time: it is stuck, often on storage that does not answer.',
    action: 'Look at the storage under the disks; kubectl vm stop --force ends the VM.',
  },
  QmpProtocol: {
    meaning: 'What came from QEMU was no QMP.',
    action: 'Report it with the versions that kubectl vm version and status.launcher show.',
  },

  // Objects.
  InvalidVirtualMachine: {
    meaning: 'A file holds no VirtualMachine that the API server would take.',
    action:
      'Correct the fields that the message names; kubectl explain vm.spec or docs/reference has all of them.',
  },

  // The command line.
  Usage: {
    meaning: 'The command line cannot be understood.',
    action: 'kubectl vm help COMMAND shows what the command takes.',
  },
  VmNotFound: {
    meaning: 'There is no VirtualMachine of that name in the namespace.',
    action: 'kubectl get vm -A shows those that you may see; choose the namespace with -n.',
  },
  VmNotRunning: {
    meaning: 'The VM has no running guest, so it has no console and no logs.',
    action: 'kubectl vm describe says why; kubectl vm start starts a VM that is held off.',
  },
  ConsoleLost: {
    meaning: 'The connection to the console broke off; the VM itself is not concerned.',
    action: 'Connect again: kubectl vm console.',
  },
  OperationFailed: {
    meaning: 'The operation was made and ended without success.',
    action: 'The message says why; kubectl get vmop -o wide shows it too.',
  },
  Timeout: {
    meaning: 'What was waited for did not come within --timeout. An operation goes on.',
    action: 'kubectl vm describe says what is being waited for; give a longer --timeout.',
  },
  Forbidden: {
    meaning: 'Your user lacks a right in the cluster.',
    action: 'Ask for a Role with the verb and the resource that the message names.',
  },
  Unauthorized: {
    meaning: 'The API server does not accept your credentials.',
    action: 'Log in again, or choose another context with --context.',
  },
  NotInstalled: {
    meaning: 'The cluster does not know the kinds of Vmstead.',
    action: 'Install the Helm chart, or choose another context with --context.',
  },
  Unreachable: {
    meaning: 'The API server gave no usable answer.',
    action: 'Check the context, the network and the API server: kubectl get --raw /readyz.',
  },
  KubeconfigUnusable: {
    meaning: 'The kubeconfig is missing, cannot be read, or lacks the context.',
    action: 'Set KUBECONFIG or --kubeconfig to a file that kubectl config get-contexts can list.',
  },
} as const satisfies Record<string, ErrorText>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code of the table. The message says what happened, to which object, and what to do next. */
export class VmsteadError extends Error {
  override readonly name: string = 'VmsteadError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
