import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { judge, kernel, readProof, type Verdict } from './kvm/proof.ts';
import type { Log } from './log.ts';

/** Milliseconds between two looks at what the prover left, and at the kernel. */
const LOOK_INTERVAL = 5_000;
/** At the start somebody may be waiting for the node: for a minute it looks more often. */
const FIRST_LOOK_INTERVAL = 500;
const FIRST_LOOKS = 120;
/** Proofs that may be missed before the last one is too old. */
const MISSED_PROOFS = 3;

export interface MonitorOptions {
  proofPath: string;
  /** Exists while the kernel has KVM: `/sys/class/misc/kvm`. */
  kernelDevice: string;
  minimumInstructionsPerSecond: number;
  /** Seconds between two proofs. */
  proofInterval: number;
  /** Milliseconds between two looks. */
  lookInterval?: number;
  log: Log;
}

/** What is known of the node's KVM right now. */
async function observeKvm(options: MonitorOptions): Promise<Verdict> {
  const present = await access(options.kernelDevice).then(
    () => true,
    () => false,
  );
  if (!present) {
    const reason = 'the kernel has no KVM: its module is not loaded, or the machine has no virtualization';
    return { usable: false, instructionsPerSecond: 0, reason };
  }
  return judge(await readProof(options.proofPath), {
    ...(await kernel()),
    minimumInstructionsPerSecond: options.minimumInstructionsPerSecond,
    lifetime: options.proofInterval * MISSED_PROOFS,
  });
}

/** Calls back with the first verdict and with each one that differs, until the signal is aborted. */
export async function monitorKvm(
  options: MonitorOptions,
  onVerdict: (verdict: Verdict) => void,
  signal: AbortSignal,
): Promise<void> {
  let last: Verdict | undefined;
  for (let looks = 0; !signal.aborted; looks++) {
    const verdict = await observeKvm(options);
    const changed = verdict.usable !== last?.usable;
    if (changed || verdict.instructionsPerSecond !== last?.instructionsPerSecond) {
      options.log[verdict.usable || !changed ? 'info' : 'warn'](verdict.reason, {
        usable: verdict.usable,
        instructionsPerSecond: verdict.instructionsPerSecond,
      });
      onVerdict(verdict);
    }
    last = verdict;
    const first = last.instructionsPerSecond === 0 && looks < FIRST_LOOKS;
    const pause = options.lookInterval ?? (first ? FIRST_LOOK_INTERVAL : LOOK_INTERVAL);
    await sleep(pause, undefined, { signal }).catch(() => {});
  }
}
