/** Where a VM is between off and running, and what is known of it. */
import type { LauncherReport } from '../../crds/channel.ts';
import type { Phase, VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Node } from '../kube/resources.ts';
import { isHeard, launcherStartedAt, missedFrom, unreachableFrom } from './contact.ts';
import type { Wish } from './power.ts';
import type { Run } from './runs.ts';
import { type Wait, waitOf } from './waiting.ts';
import type { LauncherContact, World } from './world.ts';

export type Truth = 'True' | 'False' | 'Unknown';

export interface Stage {
  phase: Phase;
  /** For operations: what the run is doing. */
  state: 'Starting' | 'Running' | 'Paused' | 'IoError' | 'Stopping' | 'Unknown';
  /** The Running condition. */
  running: { status: Truth; reason: string; message: string };
  /** The ControlReachable condition; absent while there is no launcher. */
  control: { status: Truth; reason: string; message: string } | undefined;
  /** What the start waits for. */
  wait: Wait | undefined;
  /** Absent where nothing was reported, or nothing that still holds. */
  report: LauncherReport | undefined;
  /** Milliseconds after which time alone may change this. */
  after: number | undefined;
}

/** Milliseconds between two looks at the events of a pod that waits. */
const LOOK_AGAIN = 5_000;
/** Milliseconds between two looks at the lease of a node that only its lease calls silent. */
const LEASE_AGAIN = 10_000;

export function stageOf(
  world: World,
  vm: VirtualMachine,
  alive: Run | undefined,
  wish: Wish,
  wait: Wait | undefined,
): Stage {
  if (!alive) return withoutRun(vm, wish, wait);
  const node = world.nodes.find((each) => each.metadata.name === alive.pod.spec?.nodeName);
  const contact = world.contacts.get(alive.pod.metadata.uid);
  const known = isHeard(contact, world.now);
  if (!alive.own)
    return stage('Pending', 'Stopping', 'False', wait?.reason ?? 'Stopping', wait?.message ?? '', wait);
  const nodeName = alive.pod.spec?.nodeName;
  if (!known && nodeName !== undefined) {
    const since = world.silentNodes.get(nodeName);
    if (since !== undefined || isSilent(node)) return nodeSilent(nodeName, node, since);
  }
  if (alive.deleting) return stopping(alive);
  const startedAt = launcherStartedAt(alive.pod);
  if (known && contact.report) return reported(contact.report);
  if (startedAt === undefined) {
    const reason = waitOf(alive.pod, world.nodes, world.warnings);
    const phase = alive.pod.spec?.nodeName === undefined ? 'Scheduling' : 'Starting';
    return { ...stage(phase, 'Starting', 'False', reason.reason, reason.message, reason), after: LOOK_AGAIN };
  }
  return unheard(world, vm, alive, contact, startedAt);
}

function stage(
  phase: Phase,
  state: Stage['state'],
  status: Truth,
  reason: string,
  message: string,
  wait?: Wait,
): Stage {
  return {
    phase,
    state,
    running: { status, reason, message },
    control: undefined,
    wait,
    report: undefined,
    after: undefined,
  };
}

function withoutRun(vm: VirtualMachine, wish: Wish, wait: Wait | undefined): Stage {
  if (!wish.on) {
    const phase = wish.reason === 'Finished' ? 'Succeeded' : wish.reason === 'Failed' ? 'Failed' : 'Stopped';
    return stage(phase, 'Stopping', 'False', wish.reason, wish.message);
  }
  if (wait?.reason === 'CrashLoopBackOff')
    return stage('CrashLoopBackOff', 'Starting', 'False', wait.reason, wait.message, wait);
  if (wait) return stage('Pending', 'Starting', 'False', wait.reason, wait.message, wait);
  // The pod is created in this very reconcile.
  const again = vm.status?.lastRun !== undefined;
  return stage(
    'Scheduling',
    'Starting',
    'False',
    'Scheduling',
    again ? 'Starting again.' : 'Waiting for the scheduler to choose a node.',
  );
}

function stopping(alive: Run): Stage {
  const { metadata } = alive.pod;
  const until = metadata.deletionTimestamp ?? '';
  return stage(
    'Stopping',
    'Stopping',
    'False',
    'Stopping',
    `Waiting for the guest to power itself off; it is stopped by force at ${until}.`,
  );
}

function isSilent(node: Node | undefined): boolean {
  const ready = node?.status?.conditions?.find((each) => each.type === 'Ready');
  return node === undefined || ready?.status === 'Unknown';
}

/** `leaseSince`: since when its kubelet has not renewed its lease, which is known sooner than Ready turns Unknown. */
function nodeSilent(name: string, node: Node | undefined, leaseSince: string | undefined): Stage {
  const ready = node?.status?.conditions?.find((each) => each.type === 'Ready');
  const what = node
    ? `Node ${name} has been silent since ${leaseSince ?? ready?.lastTransitionTime}`
    : `Node ${name} has no Node object any more`;
  const message = `${what}: nobody can tell whether the VM runs, and it is not started elsewhere. If you are certain that the node is off: kubectl taint nodes ${name} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`;
  return {
    ...stage('Unknown', 'Unknown', 'Unknown', 'NodeSilent', message),
    control: { status: 'Unknown', reason: 'NodeSilent', message: `Node ${name} is silent.` },
    // Nobody tells when a lease is renewed; once Ready is Unknown, its change does.
    after: node && !isSilent(node) ? LEASE_AGAIN : undefined,
  };
}

function reported(report: LauncherReport): Stage {
  const control = {
    status: 'True' as const,
    reason: 'Connected',
    message: 'The launcher is connected to the operator.',
  };
  const base = { control, report, wait: undefined, after: undefined };
  const of = (
    phase: Phase,
    state: Stage['state'],
    status: Truth,
    reason: string,
    message: string,
  ): Stage => ({
    ...base,
    phase,
    state,
    running: { status, reason, message },
  });
  switch (report.state) {
    case 'Starting':
      return of(
        'Starting',
        'Starting',
        'False',
        'MachineStarting',
        report.message ?? 'The launcher prepares the machine.',
      );
    case 'Running':
      return of('Running', 'Running', 'True', 'Running', 'The guest is running.');
    case 'Paused':
      return of(
        'Paused',
        'Paused',
        'False',
        'Paused',
        'The guest is paused by an operation; a Resume operation lets it go on.',
      );
    case 'IoError': {
      // The launcher knows what the disk lies on, and so what helps.
      const disk = report.ioError?.disk ?? 'unknown';
      const message = sentence(report.message ?? `disk ${disk} stopped the guest, which is paused`);
      return of(
        'Paused',
        'IoError',
        'False',
        report.ioError?.noSpace === true ? 'DiskFull' : 'DiskError',
        message,
      );
    }
    case 'Stopping':
      return of(
        'Stopping',
        'Stopping',
        'False',
        'Stopping',
        report.message ?? 'The guest is powering itself off.',
      );
    case 'Ended':
    case 'Off':
      return of('Stopping', 'Stopping', 'False', 'Ended', report.message ?? 'The machine has ended.');
  }
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** The container runs, but its launcher has not called, or no longer does. */
function unheard(
  world: World,
  vm: VirtualMachine,
  alive: Run,
  contact: LauncherContact | undefined,
  startedAt: number,
): Stage {
  const left = unreachableFrom(startedAt, world.listeningSince, contact) - world.now;
  if (left > 0) {
    const untilMissed = missedFrom(startedAt, world.listeningSince, contact) - world.now;
    const after = Math.min(left, untilMissed > 0 ? untilMissed : LEASE_AGAIN);

    const was = vm.status?.launcher?.podUID === alive.pod.metadata.uid ? vm.status : undefined;
    const before = was?.conditions?.find((each) => each.type === 'Running');
    // A moment without the channel is no news; what was true a moment ago is not yet doubted.
    if (before?.status === 'True' && was?.phase !== undefined) {
      return { ...stage(was.phase, 'Running', 'True', before.reason, before.message), after };
    }
    return {
      ...stage(
        'Starting',
        'Starting',
        'False',
        'LauncherStarting',
        'Waiting for the launcher to call the operator.',
      ),
      after,
    };
  }
  const message = `The launcher does not reach the operator, so that nothing is known of the guest. If a NetworkPolicy denies egress here, allow TCP 8443 from pods with label vmstead.io/vm to the operator's namespace.`;
  return {
    ...stage('Unknown', 'Unknown', 'Unknown', 'ControlUnreachable', message),
    control: { status: 'False', reason: 'NotConnected', message },
  };
}
