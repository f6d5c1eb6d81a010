/** The prover's program: measures KVM and leaves the figure for the agent. */
import { type Measurement, measure, WORK } from './kvm/measure.ts';
import { kernel, writeProof } from './kvm/proof.ts';
import { createLog } from './log.ts';

/** A busy node can make one measurement look bad. */
const ATTEMPTS = 3;

/** The best of a few measurements; one that did all the work is good enough. */
async function best(): Promise<Measurement> {
  let found = await measure({ accelerator: 'kvm' });
  for (let attempt = 1; attempt < ATTEMPTS && found.instructions < WORK; attempt++) {
    const next = await measure({ accelerator: 'kvm' });
    if (next.instructionsPerSecond > found.instructionsPerSecond) found = next;
  }
  return found;
}

async function main(): Promise<void> {
  const log = createLog('prover', 'info');
  const path = process.env.VMSTEAD_PROOF ?? '/proof/kvm.json';
  const result = await best().catch((error: Error) => error);
  const { bootId, uptime } = await kernel();
  if (result instanceof Error) {
    log.warn('KVM does not work', { error: result.message });
    await writeProof(path, { bootId, uptime, instructionsPerSecond: 0, error: result.message });
  } else {
    log.info('measured KVM', { ...result });
    await writeProof(path, { bootId, uptime, instructionsPerSecond: result.instructionsPerSecond });
  }
}

void main();
