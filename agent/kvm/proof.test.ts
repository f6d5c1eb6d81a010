import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Criteria, judge, type Proof, parseProof, readProof, writeProof } from './proof.ts';

const criteria: Criteria = {
  bootId: 'boot',
  uptime: 1000,
  minimumInstructionsPerSecond: 400,
  lifetime: 300,
};
const proof: Proof = { bootId: 'boot', uptime: 900, instructionsPerSecond: 500 };

describe('a proof of KVM', () => {
  it.each<[string, Proof | undefined, boolean, string]>([
    ['good', proof, true, "KVM works: 500 instructions/s measured in a guest's kernel mode, 400 wanted"],
    ['just good', { ...proof, instructionsPerSecond: 400 }, true, 'KVM works'],
    [
      'slow',
      { ...proof, instructionsPerSecond: 399 },
      false,
      'too slow to boot a system, and counts as absent: 399',
    ],
    ['absent', undefined, false, 'has not been proved since the node started'],
    [
      "an earlier kernel's",
      { ...proof, bootId: 'other' },
      false,
      'has not been proved since the node started',
    ],
    ['old', { ...proof, uptime: 699 }, false, 'is 301 s old; is the prover pod of this node running?'],
    ['of no KVM', { ...proof, instructionsPerSecond: 0, error: 'no such device' }, false, 'no such device'],
  ])('%s', (_name, given, usable, reason) => {
    const verdict = judge(given, criteria);
    expect(verdict.usable).toBe(usable);
    expect(verdict.reason).toContain(reason);
  });
});

describe('the file between prover and agent', () => {
  it('holds what was written', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vmstead-proof-'));
    const path = join(directory, 'kvm.json');
    expect(await readProof(path)).toBeUndefined();
    await writeProof(path, { ...proof, error: 'x' });
    expect(await readProof(path)).toEqual({ ...proof, error: 'x' });
    await writeFile(path, '{'.repeat(1_000_000));
    expect(await readProof(path)).toBeUndefined();
    await rm(directory, { recursive: true });
  });

  it('is not trusted: whatever stands there is a proof or nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(parseProof(text)).toBeUndefined();
      }),
    );
    expect(parseProof('{"bootId":"a","uptime":1,"instructionsPerSecond":-1}')).toBeUndefined();
    expect(parseProof('{"bootId":"a","uptime":1,"instructionsPerSecond":1e999}')).toBeUndefined();
    expect(parseProof('{"bootId":"a","uptime":1,"instructionsPerSecond":1,"error":5}')).toBeUndefined();
    const long = parseProof(JSON.stringify({ ...proof, error: 'x'.repeat(9999), more: 1 }));
    expect(long).toEqual({ ...proof, error: 'x'.repeat(500) });
  });
});
