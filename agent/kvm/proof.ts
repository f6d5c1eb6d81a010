/**
 * What the prover tells the agent, through a file: the prover has the device and no rights, the agent has the
 * kubelet's socket and no device.
 */
import { mkdir, open, rename, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { dirname } from 'node:path';

/** Bytes; the file is written by another user than the one who reads it. */
const LIMIT = 4096;

export interface Proof {
  /** Of the kernel: a proof does not outlive it. */
  bootId: string;
  /** Seconds since the kernel's start: no clock can be set behind its back. */
  uptime: number;
  instructionsPerSecond: number;
  /** Why there is no figure. */
  error?: string | undefined;
}

/** What decides whether KVM is offered. */
export interface Criteria {
  bootId: string;
  /** Seconds since the kernel's start. */
  uptime: number;
  minimumInstructionsPerSecond: number;
  /** Seconds after which a proof is too old. */
  lifetime: number;
}

export interface Verdict {
  usable: boolean;
  instructionsPerSecond: number;
  /** One sentence for a person. */
  reason: string;
}

/** Judges a proof; a pure function. */
export function judge(proof: Proof | undefined, criteria: Criteria): Verdict {
  const refuse = (reason: string, instructionsPerSecond = 0) => ({
    usable: false,
    instructionsPerSecond,
    reason,
  });
  if (!proof || proof.bootId !== criteria.bootId)
    return refuse('KVM has not been proved since the node started');
  const { instructionsPerSecond: figure, error } = proof;
  const age = criteria.uptime - proof.uptime;
  if (age > criteria.lifetime) {
    return refuse(
      `the last proof of KVM is ${Math.round(age)} s old; is the prover pod of this node running?`,
    );
  }
  if (error !== undefined) return refuse(`KVM does not work: ${error}`);
  const minimum = criteria.minimumInstructionsPerSecond;
  const measured = `${figure} instructions/s measured in a guest's kernel mode, ${minimum} wanted`;
  return figure >= minimum
    ? { usable: true, instructionsPerSecond: figure, reason: `KVM works: ${measured}` }
    : refuse(`KVM is too slow to boot a system, and counts as absent: ${measured}`, figure);
}

/** Reads a proof; undefined when there is none, or something else in its place. */
export async function readProof(path: string): Promise<Proof | undefined> {
  let text: string;
  try {
    await using file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LIMIT), 0, LIMIT, 0);
    text = buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseProof(text);
}

/** Takes nothing on trust: any text may stand in the file. */
export function parseProof(text: string): Proof | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { bootId, uptime: at, instructionsPerSecond, error } = value as Record<string, unknown>;
  if (typeof bootId !== 'string' || typeof at !== 'number' || typeof instructionsPerSecond !== 'number') {
    return undefined;
  }
  if (!Number.isFinite(at) || !Number.isFinite(instructionsPerSecond) || instructionsPerSecond < 0)
    return undefined;
  if (error !== undefined && typeof error !== 'string') return undefined;
  return {
    bootId,
    uptime: at,
    instructionsPerSecond,
    ...(error !== undefined && { error: error.slice(0, 500) }),
  };
}

/** Writes a proof whole or not at all. */
export async function writeProof(path: string, proof: Proof): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.part`;
  await writeFile(partial, JSON.stringify(proof));
  await rename(partial, path);
}

/** The running kernel's identity and age. */
export async function kernel(): Promise<{ bootId: string; uptime: number }> {
  await using file = await open('/proc/sys/kernel/random/boot_id', 'r');
  return { bootId: (await file.readFile('utf8')).trim(), uptime: uptime() };
}
