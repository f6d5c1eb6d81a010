/** The status of a VM, computed in one place from what was decided. Pure. */

import type { DiskReport } from '../../crds/channel.ts';
import type { Condition } from '../../crds/kubernetes.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { formatBytes } from '../../crds/quantity.ts';
import type { VirtualMachineStatus } from '../../crds/virtual-machine.ts';
import { neededClaims } from './claims.ts';
import { isAttached } from './live.ts';
import type { Decision } from './plan.ts';
import type { AttachmentState } from './plugged-disk.ts';
import { STABLE_AFTER } from './power.ts';
import { pendingChanges } from './restart-required.ts';
import { sorted } from './sorted.ts';
import type { Truth } from './stage.ts';
import type { Wait } from './waiting.ts';
import type { World } from './world.ts';

interface Draft {
  status: Truth;
  reason: string;
  message: string;
}

/** Longest condition message; a status as a whole stays under 16 KiB. */
const LONGEST_MESSAGE = 1024;
const MIB = 1024n * 1024n;

/** `refusal`: why the API server refused what the plan wanted, if it did. */
export function statusOf(world: World, decision: Decision, refusal: Wait | undefined): VirtualMachineStatus {
  const { vm, alive, stage, resolved, running } = decision;
  const previous = vm.status;
  const status: VirtualMachineStatus = {
    observedGeneration: vm.metadata.generation ?? 1,
    phase: refusal ? 'Pending' : stage.phase,
    resolved: {
      machineType: running?.machineType ?? resolved.machineType,
      cpuModel: stage.report?.cpuModel ?? running?.cpu.model ?? resolved.cpuModel,
      vcpus: running ? running.cpu.sockets * running.cpu.cores * running.cpu.threads : resolved.vcpus,
      firmware: running?.firmware.type ?? resolved.firmware,
      uuid: running?.uuid ?? resolved.uuid,
      acceleration: (running?.accelerator ?? resolved.accelerator) === 'kvm' ? 'KVM' : 'Emulation',
      memory: formatBytes(BigInt(running?.memoryMiB ?? resolved.memoryMiB) * MIB),
      memoryOverhead: `${resolved.memoryOverheadMiB}Mi`,
    },
    power: decision.power,
  };
  const launcher = launcherOf(world, decision);
  if (launcher) status.launcher = launcher;
  status.interfaces = interfacesOf(decision);
  status.disks = disksOf(decision);
  const startup = startupOf(decision);
  if (startup) status.startup = startup;
  const pending =
    alive && running && !alive.deleting
      ? pendingChanges(running, decision.wanted, new Set(decision.attachments.keys()))
      : [];
  if (pending.length > 0) status.restartRequired = pending;
  if (decision.lastRun) status.lastRun = decision.lastRun;
  if (decision.crashLoop && !isStable(world, decision)) status.crashLoop = decision.crashLoop;
  status.conditions = conditionsOf(world, decision, refusal, pending.length, previous?.conditions ?? []);
  return status;
}

function isStable(world: World, { stage, alive, lastRun }: Decision): boolean {
  const upSince = Date.parse(stage.report?.machineReadyAt ?? '');
  return (
    alive !== undefined &&
    alive.incarnation > (lastRun?.incarnation ?? 0) &&
    world.now - upSince > STABLE_AFTER
  );
}

function launcherOf(world: World, decision: Decision): VirtualMachineStatus['launcher'] {
  const { alive, vm, stage } = decision;
  if (!alive?.own) {
    const numbers = [vm.status?.launcher?.incarnation ?? 0, ...decision.tasks.map((run) => run.incarnation)];
    const incarnation = Math.max(...numbers);
    // The number stays: the next life must not get a name that an earlier pod had.
    return incarnation === 0 ? undefined : { incarnation };
  }
  const { metadata, spec } = alive.pod;
  const launcher: NonNullable<VirtualMachineStatus['launcher']> = {
    podName: metadata.name,
    podUID: metadata.uid,
    incarnation: alive.incarnation,
  };
  if (spec?.nodeName !== undefined) launcher.node = spec.nodeName;
  const version = world.contacts.get(metadata.uid)?.launcherVersion;
  if (version !== undefined) launcher.version = version;
  if (stage.report?.qemuVersion !== undefined) launcher.qemuVersion = stage.report.qemuVersion;
  return launcher;
}

function interfacesOf({ alive, running, wanted, stage }: Decision) {
  const podIPs = alive?.pod.status?.podIPs?.map((each) => each.ip) ?? [];
  return (running ?? wanted).networks.map(({ name, mac }) => {
    const told = stage.report?.interfaces?.find((each) => each.name === name)?.ips ?? [];
    // The VM answers on the pod's IP; what the guest calls its own stands behind it.
    const ips = [...new Set([...podIPs, ...told])].slice(0, 8);
    return ips.length > 0 ? { name, mac, ips } : { name, mac };
  });
}

function disksOf({ vm, running, wanted, stage, claims, attachments, alive }: Decision) {
  const claimNames = new Map(neededClaims(vm).map((each) => [each.disk, each.name]));
  const capacities = new Map(claims.usable.map(({ disk, claim }) => [disk, claim.status?.capacity?.storage]));
  const there = (running ?? wanted).disks.filter((disk) => !disk.unplugged || attachments.has(disk.name));
  const coming = wanted.disks.filter(
    ({ name }) => attachments.has(name) && !there.some((disk) => disk.name === name),
  );
  return [...there, ...coming].slice(0, MOST_DISKS).map((disk) => {
    const { name } = disk;
    const told = stage.report?.disks?.find((each) => each.name === name);
    const capacity =
      told?.capacityBytes === undefined ? capacities.get(name) : formatBytes(BigInt(told.capacityBytes));
    const claimName = claimNames.get(name);
    return {
      name,
      ...(claimName === undefined ? {} : { claimName }),
      ...(capacity === undefined ? {} : { capacity }),
      ...(told === undefined ? {} : toldOf(told)),
      ...baseOf(vm, claims, name, told),
      ...(alive ? { attachment: attachmentOf(disk, attachments.get(name)) } : {}),
    };
  });
}

const MOST_DISKS = 32;

/** How a disk is a part of the machine. */
function attachmentOf(disk: MachineDisk, state: AttachmentState | undefined) {
  if (!state) return { state: isAttached(disk) ? ('Hotplugged' as const) : ('InPod' as const) };
  const { podName, message } = state;
  return {
    state: state.state,
    ...(podName === undefined ? {} : { podName }),
    ...(message === undefined ? {} : { message: message.slice(0, LONGEST_MESSAGE) }),
  };
}

/** There only while a disk is on its way. */
function disksAttachedOf({ attachments }: Decision): Draft | undefined {
  const pending = [...attachments].filter(([, { state }]) => state !== 'Hotplugged');
  const [name, first] = pending.find(([, { stuck }]) => stuck) ?? pending[0] ?? [];
  if (!first) return undefined;
  const what = first.state === 'Attaching' ? 'is being attached' : 'is being detached';
  return {
    status: 'False',
    reason: first.state,
    message: `Disk ${name} ${what}: ${(first.message ?? '').replace(/\.$/, '')}.`,
  };
}

/** In steps: each one is a write. */
const COPIED_STEP = 5;

/** A disk is Linked until its launcher says otherwise; without a record of its image it is independent. */
function baseOf(
  vm: Decision['vm'],
  { usable }: Decision['claims'],
  disk: string,
  told: DiskReport | undefined,
): Pick<NonNullable<VirtualMachineStatus['disks']>[number], 'base'> {
  const found = usable.find((each) => each.disk === disk);
  const image = vm.spec.disks?.find(({ name }) => name === disk)?.source?.image?.name;
  if (!found || image === undefined) return {};
  if (found.clone) return { base: { image: found.clone.image, state: 'Independent', method: 'Clone' } };
  if (!found.base) return { base: { image, state: 'Independent', method: 'Overlay' } };
  const { state = 'Linked', copiedBytes = 0, totalBytes = 0 } = told?.base ?? {};
  const percent = Math.floor((copiedBytes / Math.max(totalBytes, 1)) * (100 / COPIED_STEP)) * COPIED_STEP;
  const copied = state === 'Copying' && totalBytes > 0 ? { copied: `${percent}%` } : {};
  return { base: { image: found.base.image, state, ...copied, method: 'Overlay' } };
}

/** What the launcher says of a disk, for people. */
function toldOf({ format, cache, aio, limits, media, problem }: DiskReport) {
  const said = Object.entries(limits ?? {}).map(
    ([name, value = 0]) => `${name} ${name.endsWith('andwidth') ? formatBytes(BigInt(value)) : value}`,
  );
  return {
    ...(format === undefined ? {} : { format }),
    ...(cache === undefined ? {} : { cache }),
    ...(aio === undefined ? {} : { aio }),
    ...(said.length === 0 ? {} : { limits: said.join(', ') }),
    ...(media === undefined ? {} : { media }),
    ...(problem === undefined ? {} : { problem }),
  };
}

function startupOf({ alive, stage, vm }: Decision): VirtualMachineStatus['startup'] {
  if (!alive) return undefined;
  const startup: NonNullable<VirtualMachineStatus['startup']> = {};
  const { metadata, status } = alive.pod;
  if (metadata.creationTimestamp !== undefined) startup.createdAt = metadata.creationTimestamp;
  const scheduled = status?.conditions?.find(
    (each) => each.type === 'PodScheduled' && each.status === 'True',
  );
  if (scheduled?.lastTransitionTime !== undefined) startup.scheduledAt = scheduled.lastTransitionTime;
  const before = vm.status?.launcher?.podUID === metadata.uid ? vm.status?.startup : undefined;
  const ready = stage.report?.machineReadyAt ?? before?.machineReadyAt;
  if (ready !== undefined) startup.machineReadyAt = ready;
  const up = stage.report?.guestUpAt ?? before?.guestUpAt;
  if (up !== undefined) startup.guestUpAt = up;
  return startup;
}

function conditionsOf(
  world: World,
  decision: Decision,
  refusal: Wait | undefined,
  pendingChangeCount: number,
  previous: readonly Condition[],
): Condition[] {
  const { stage } = decision;
  const running: Draft = refusal ? { status: 'False', ...refusal } : stage.running;
  const ready = readyOf(decision, running);
  const drafts: [string, Draft | undefined][] = [
    ['Ready', ready],
    ['Running', running],
    ['GuestReady', guestReadyOf(decision, running)],
    ['DisksReady', disksReadyOf(decision)],
    ['DisksAttached', disksAttachedOf(decision)],
    ['DisksGrown', decision.growth && { status: 'False', ...decision.growth }],
    ['Accelerated', acceleratedOf(decision)],
    ['ControlReachable', stage.control],
    ['AgentConnected', agentOf(decision)],
    ['Paused', pausedOf(decision, running)],
    [
      'RestartRequired',
      pendingChangeCount > 0
        ? {
            status: 'True',
            reason: 'SpecChanged',
            message: `${pendingChangeCount} changed field${pendingChangeCount > 1 ? 's wait' : ' waits'} for the next start, see status.restartRequired; a Restart operation applies ${pendingChangeCount > 1 ? 'them' : 'it'}.`,
          }
        : undefined,
    ],
    ...kstatusOf(decision, ready),
  ];
  const at = new Date(world.now).toISOString();
  return drafts.flatMap(([type, draft]) => {
    if (!draft) return [];
    const before = previous.find((each) => each.type === type);
    return [
      {
        type,
        status: draft.status,
        reason: draft.reason,
        message: draft.message.slice(0, LONGEST_MESSAGE),
        lastTransitionTime: before?.status === draft.status ? before.lastTransitionTime : at,
        observedGeneration: decision.vm.metadata.generation ?? 1,
      },
    ];
  });
}

/** Ready: the VM is in the state that its spec and its last operation ask for. */
function readyOf({ wish, alive, stage }: Decision, running: Draft): Draft {
  if (!wish.on) {
    if (alive)
      return {
        status: running.status === 'Unknown' ? 'Unknown' : 'False',
        reason: running.reason,
        message: running.message,
      };
    // A run that failed is over, but it is not what was asked for.
    if (wish.reason === 'Failed') return { status: 'False', reason: 'Failed', message: wish.message };
    return { status: 'True', reason: wish.reason, message: wish.message };
  }
  // Only an operation pauses a guest with state Paused; QEMU's own pauses are IoError.
  if (stage.state === 'Paused') return { status: 'True', reason: 'Paused', message: running.message };
  return running;
}

function guestReadyOf({ stage, alive, wish }: Decision, running: Draft): Draft {
  if (!alive || !wish.on) return { status: 'False', reason: 'NotRunning', message: 'The VM does not run.' };
  if (running.status === 'Unknown')
    return { status: 'Unknown', reason: running.reason, message: running.message };
  if (stage.report?.guestReady === 'Agent')
    return { status: 'True', reason: 'Agent', message: 'The guest agent answers.' };
  if (stage.report?.guestReady === 'Signal')
    return { status: 'True', reason: 'Signal', message: 'The guest said that it is up.' };
  if (stage.state !== 'Running')
    return { status: 'False', reason: 'NotRunning', message: 'The guest does not run.' };
  return {
    status: 'False',
    reason: 'NoSignal',
    message:
      'The guest runs but has not said that it is up: it needs the QEMU guest agent, or to write READY=1 to the virtio port io.vmstead.guest.0.',
  };
}

function disksReadyOf({ claims, wait }: Decision): Draft {
  const problem =
    claims.problems[0] ??
    (wait?.reason === 'ClaimInUse' || wait?.reason === 'CreatingClaims' ? wait : undefined);
  if (problem) return { status: 'False', ...problem };
  const unbound = claims.usable.find(({ claim }) => claim.status?.phase !== 'Bound');
  if (unbound) {
    return {
      status: 'False',
      reason: 'ClaimUnbound',
      message: `PersistentVolumeClaim ${unbound.claim.metadata.name} of disk ${unbound.disk} has no volume yet.`,
    };
  }
  return { status: 'True', reason: 'Ready', message: 'Every claim is there, bound, and held by this VM.' };
}

function acceleratedOf({ running, resolved, vm }: Decision): Draft {
  if ((running?.accelerator ?? resolved.accelerator) === 'kvm') {
    return {
      status: 'True',
      reason: 'KVM',
      message: 'KVM, proved to work on the node before it was offered.',
    };
  }
  if (vm.spec.acceleration === 'Emulation') {
    return { status: 'False', reason: 'EmulationAsked', message: 'spec.acceleration is Emulation.' };
  }
  return {
    status: 'False',
    reason: 'NoKVM',
    message:
      'No node that the VM may run on offered KVM when it was started, so that QEMU emulates the CPU, many times slower.',
  };
}

function agentOf({ stage }: Decision): Draft | undefined {
  const agent = stage.report?.agent;
  if (!agent) return undefined;
  return agent.connected
    ? {
        status: 'True',
        reason: 'Connected',
        message: `Guest agent ${agent.version ?? ''} answers.`.replace('  ', ' '),
      }
    : { status: 'False', reason: 'NotConnected', message: 'The guest agent does not answer.' };
}

function pausedOf({ stage }: Decision, running: Draft): Draft | undefined {
  return stage.state === 'Paused' || stage.state === 'IoError'
    ? { status: 'True', reason: running.reason, message: running.message }
    : undefined;
}

/** The reasons for which nothing goes on until a person acts. */
const STALLED = new Set([
  'CrashLoopBackOff',
  'ClaimIsImage',
  'ClaimNotOurs',
  'ClaimLost',
  'ImageLost',
  'ImageTooLarge',
  'PodRefused',
  'PodSecurityRefused',
  'LimitRangeRefused',
  'Failed',
  'DiskError',
]);

/**
 * The two conditions that kstatus and with it GitOps tools read: present only while they are True.
 * Source: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
 */
function kstatusOf({ stage }: Decision, ready: Draft): [string, Draft | undefined][] {
  if (ready.status === 'True') return [];
  const draft: Draft = { status: 'True', reason: ready.reason, message: ready.message };
  return stage.state !== 'Running' && STALLED.has(ready.reason)
    ? [['Stalled', draft]]
    : [['Reconciling', draft]];
}

/** Whether a status says the same; server-side apply of an equal one would still be a request. */
export function sameStatus(before: object | undefined, after: object): boolean {
  return JSON.stringify(sorted(before)) === JSON.stringify(sorted(after));
}
