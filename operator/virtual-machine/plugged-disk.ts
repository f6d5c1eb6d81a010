/** One disk that comes to a VM while it runs, or goes: a step further. Pure; the rules are those of hotplug.ts. */
import { LABEL } from '../../crds/api.ts';
import { ATTACHMENT_CONTAINER, ATTACHMENT_PORT } from '../../crds/attachment.ts';
import type { DiskReport } from '../../crds/channel.ts';
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import { formatBytes } from '../../crds/quantity.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import type { Lease, PersistentVolumeClaim } from '../kube/resources.ts';
import { draftLease, holdersOf, leaseAge, ORPHAN_AFTER, useOf } from '../ownership/claim-lease.ts';
import { type EndsPlan, endAttachments, erase } from './attachment-ends.ts';
import { attachmentPod } from './attachment-pod.ts';
import { type Attachment, attachmentName, attachmentsOf, highestAttempt } from './attachments.ts';
import type { ClaimsPlan } from './claims.ts';
import { isHeard } from './contact.ts';
import { isAttached, type Reachable } from './live.ts';
import type { Resolved } from './resolve.ts';
import type { Run } from './runs.ts';
import { waitOf } from './waiting.ts';
import type { World } from './world.ts';

/** How a disk is, or is becoming, a part of the machine. */
export interface AttachmentState {
  state: 'Attaching' | 'Hotplugged' | 'Detaching';
  podName: string | undefined;
  message: string | undefined;
  /** Nothing is under way: something stands in the way. */
  stuck: boolean;
}

export interface HotplugPlan extends EndsPlan {
  /** Where disks can be reached now, by name: of those that are wanted. */
  reachable: Map<string, Reachable>;
  /** Names of disks that were unplugged and that the machine knows nothing of any more. */
  gone: Set<string>;
  /** By name, of every disk that is plugged in, or is to be, or is on its way out. */
  states: Map<string, AttachmentState>;
  after: number | undefined;
}

/** A claim that is larger by so much than the disk in it has grown since the disk came. */
const GROWN = 1.2;
/** Milliseconds between two attempts: the first follows at once, as a pod that was lost is missed by a guest. */
const RETRY = { first: 1_000, last: 60_000 };
/** Milliseconds between two looks at a pod that does not start, and at a claim that another VM has. */
const LOOK_AGAIN = 5_000;

export interface HotplugInput {
  runs: readonly Run[];
  /** The run whose machine runs and is wanted on; absent: nothing is plugged. */
  alive: Run | undefined;
  running: MachineDescription | undefined;
  wanted: MachineDescription;
  claims: ClaimsPlan;
  resolved: Resolved;
  /** Names of leases that the rest of the plan takes. */
  taken: ReadonlySet<string>;
}

/** One disk of one life of a VM, a step further. */
export class PluggedDisk {
  private readonly world: World;
  private readonly vm: VirtualMachine;
  private readonly input: HotplugInput;
  private readonly alive: Run;
  private readonly name: string;
  private readonly result: HotplugPlan;
  /** What the running machine has of it. */
  private readonly entry: MachineDisk | undefined;
  private readonly target: MachineDisk | undefined;
  private readonly told: DiskReport | undefined;
  /** Its pods, the newest last. */
  private readonly pods: readonly Attachment[];
  /** The machine has nothing of it, neither the guest nor QEMU. */
  private readonly isGone: boolean;

  constructor(
    world: World,
    vm: VirtualMachine,
    input: HotplugInput,
    alive: Run,
    running: MachineDescription,
    name: string,
    own: readonly Attachment[],
    result: HotplugPlan,
  ) {
    this.world = world;
    this.vm = vm;
    this.input = input;
    this.alive = alive;
    this.name = name;
    this.result = result;
    this.entry = running.disks.find((disk) => disk.name === name);
    this.target = input.wanted.disks.find((disk) => disk.name === name);
    this.pods = own.filter(({ disk }) => disk === name);
    const { report } = world.contacts.get(alive.pod.metadata.uid) ?? {};
    this.told = report?.disks?.find((disk) => disk.name === name);
    const done = (report?.revision ?? 0) >= (running.revision ?? 0) && this.told !== undefined;
    this.isGone =
      this.entry === undefined ||
      !isAttached(this.entry) ||
      (this.entry.unplugged === true &&
        done &&
        this.told?.problem === undefined &&
        this.told?.capacityBytes === undefined);
  }

  plan(): void {
    if (this.entry && isAttached(this.entry) && this.isGone) this.result.gone.add(this.name);
    const newest = this.pods.at(-1);
    const alivePod = this.pods.find(({ end }) => !end);
    for (const each of this.pods) if (each !== newest && each.end) erase(each, this.result);
    if (this.target === undefined || (this.entry && !isAttached(this.entry))) this.unplug(alivePod);
    else if (alivePod) this.follow(alivePod);
    else this.attach(newest);
  }

  private unplug(pod: Attachment | undefined): void {
    if (!this.isGone) {
      const message = this.told?.problem ?? 'the guest is asked to let go of it';
      // The first answer is always that: only a guest that thinks about it is worth a word.
      this.tell('Detaching', pod, message, this.told?.problem !== undefined);
      return;
    }
    if (this.pods.length > 0) this.tell('Detaching', pod, 'its pod ends', false);
    endAttachments(this.world, this.pods, this.result);
  }

  private follow(each: Attachment): void {
    const { pod } = each;
    const { world } = this;
    if (each.deleting) {
      this.tell('Attaching', each, 'its pod is being deleted; another one takes its place', false);
      return;
    }
    const ip = pod.status?.podIP;
    if (world.exporters.get(pod.metadata.uid) === true && ip !== undefined) {
      this.result.reachable.set(this.name, {
        address: `${ip}:${ATTACHMENT_PORT}`,
        export: pod.metadata.uid,
      });
    }
    const present =
      this.entry && !this.entry.unplugged && isAttached(this.entry) ? this.entry.backend : undefined;
    if (present?.export === pod.metadata.uid) {
      // A launcher that is not heard for a moment still has what it had.
      const { told } = this;
      const silent = !isHeard(world.contacts.get(this.alive.pod.metadata.uid), world.now);
      const has = silent || (told?.capacityBytes !== undefined && told.problem === undefined);
      if (has) this.tell('Hotplugged', each, this.smaller(), false);
      else
        this.tell(
          'Attaching',
          each,
          this.told?.problem ?? 'the machine is told of it',
          this.told?.problem !== undefined,
        );
      return;
    }
    if (this.result.reachable.has(this.name)) {
      this.tell('Attaching', each, 'the machine is told of it', false);
      return;
    }
    const state = pod.status?.containerStatuses?.[0]?.state;
    const running = state?.running !== undefined;
    const wait = running ? undefined : waitOf(pod, world.nodes, world.attachmentWarnings, SUBJECT);
    this.wake(LOOK_AGAIN);
    this.tell(
      'Attaching',
      each,
      wait?.message ??
        'its pod runs and is to call the operator; if a NetworkPolicy denies egress here, allow TCP 8443 from pods with label vmstead.io/attachment to the operator’s namespace',
      wait !== undefined && !PASSING.has(wait.reason),
    );
  }

  /** NBD has no word for a disk that grows; a volume that is filled by less than its file system's own is one that grew. */
  private smaller(): string | undefined {
    const { backend } = this.target ?? {};
    const wants = backend?.type === 'file' ? backend.create?.maxBytes : undefined;
    const has = this.told?.capacityBytes;
    if (wants === undefined || has === undefined || wants < has * GROWN) return undefined;
    const [now, then] = [formatBytes(BigInt(has)), formatBytes(BigInt(wants))];
    return `it has ${now} of the ${then} of its claim, and takes the rest at the next start`;
  }

  /** There is no pod, or it has ended. */
  private attach(last: Attachment | undefined): void {
    const { world, input, alive, name } = this;
    const found = input.claims.usable.find(({ disk }) => disk === name);
    const ended = last?.end && `pod ${last.pod.metadata.name} ended: ${last.end.message}`;
    if (!found) {
      const about = new RegExp(`disk ${name}\\b`, 'i');
      const problem = input.claims.problems.find(({ message }) => about.test(message));
      this.tell('Attaching', last, problem?.message ?? 'its claim is made', problem !== undefined);
      return;
    }
    const { claim, base } = found;
    if (last?.claimUid !== undefined && last.claimUid !== claim.metadata.uid && !this.isGone) {
      const message = 'the guest has another claim as this disk, whose pod has ended; restart the VM';
      this.tell('Attaching', last, message, true);
      return;
    }
    if (last?.end) {
      const pause = last.attempt === 1 ? 0 : Math.min(RETRY.first * 2 ** (last.attempt - 2), RETRY.last);
      const left = Date.parse(last.end.finishedAt) + pause - world.now;
      if (left > 0) {
        this.wake(left);
        this.tell('Attaching', last, `${ended}; another one is made`, true);
        return;
      }
    }
    const lease = world.leases.get(claim.metadata.uid);
    const inTheWay = lease && this.holds(lease);
    if (inTheWay !== undefined) {
      this.wake(LOOK_AGAIN);
      this.tell('Attaching', last, inTheWay(claim), true);
      return;
    }
    const launcher = alive.pod;
    const attempt = this.attempt(lease);
    const holder = attachmentName(launcher.metadata.name, name, attempt);
    const draft = draftLease(claim, { [LABEL.vm]: world.name }, holder, world.now);
    this.result.actions.push(
      // Also where it is this pod's already: that it still is, is known only by the write.
      { type: 'TakeLease', lease: draft, replaces: lease },
      {
        type: 'CreateAttachment',
        disk: name,
        pod: attachmentPod({
          ...{ vm: this.vm, launcher, incarnation: alive.incarnation, attempt, claim, base },
          disk: this.target!,
          graceSeconds: input.resolved.graceSeconds,
          defaults: world.defaults,
        }),
      },
    );
    this.tell('Attaching', undefined, ended ? `${ended}; another one is made` : 'its pod is made', false);
  }

  /** A number that no pod has; one that only a lease has is that of an operator that died before it made the pod. */
  private attempt(lease: Lease | undefined): number {
    const launcher = this.alive.pod.metadata.name;
    const withPod = highestAttempt(launcher, this.name, this.pods, []);
    return Math.max(withPod + 1, highestAttempt(launcher, this.name, [], lease ? [lease] : []));
  }

  /** Who holds the claim and has not ended, as a sentence; nothing where it may be taken. */
  private holds(lease: Lease): ((claim: PersistentVolumeClaim) => string) | undefined {
    const { world, input, alive, name } = this;
    const launcher = alive.pod.metadata.name;
    for (const holder of holdersOf(lease)) {
      if (useOf(lease) === 'Exclusive' && highestAttempt(launcher, name, [], [lease]) > 0) continue;
      const ours = lease.metadata.labels?.[LABEL.vm] === world.name;
      const run = input.runs.find(({ pod }) => pod.metadata.name === holder);
      if (ours && run?.end) continue;
      const attachment = attachmentsOf(world).find(({ pod }) => pod.metadata.name === holder);
      if (ours && attachment?.end) continue;
      if (world.orphanLeases.has(lease.metadata.name) && leaseAge(lease, world.now) > ORPHAN_AFTER) continue;
      const { [LABEL.vm]: vm, [LABEL.image]: image } = lease.metadata.labels ?? {};
      if (holder === launcher)
        return ({ metadata }) =>
          `PersistentVolumeClaim ${metadata.name} is in the running pod as another disk, until the next start`;
      const who = image === undefined ? `VirtualMachine ${vm ?? 'unknown'}` : `VirtualMachineImage ${image}`;
      return ({ metadata }) =>
        `PersistentVolumeClaim ${metadata.name} is used by ${who} (pod ${holder}); stop that VM, take the disk away from it, or name another claim`;
    }
    return undefined;
  }

  private wake(after: number): void {
    this.result.after = Math.min(this.result.after ?? after, after);
  }

  private tell(
    state: AttachmentState['state'],
    attachment: Attachment | undefined,
    message: string | undefined,
    stuck: boolean,
  ): void {
    this.result.states.set(this.name, { state, podName: attachment?.pod.metadata.name, message, stuck });
  }
}

const SUBJECT = {
  container: ATTACHMENT_CONTAINER,
  name: 'the attachment pod',
  needs: 'the attachment pod, which must be where the VM runs',
  pullSecrets: 'spec.pod.imagePullSecrets',
};

/** Steps of every start of a pod. */
const PASSING = new Set(['Scheduling', 'Starting']);
