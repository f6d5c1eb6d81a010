/** Every manifest of Vmstead's kinds in the examples and in the docs is one that the API would take. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type * as z from 'zod';
import { virtualMachine } from './virtual-machine.ts';
import { virtualMachineImage } from './virtual-machine-image.ts';
import { virtualMachineOperation } from './virtual-machine-operation.ts';
import { virtualMachineRestore } from './virtual-machine-restore.ts';
import { virtualMachineSnapshot } from './virtual-machine-snapshot.ts';
import { virtualMachineSnapshotSchedule } from './virtual-machine-snapshot-schedule.ts';

const root = join(import.meta.dirname, '..');
const KINDS: Record<string, z.ZodType> = {
  VirtualMachine: virtualMachine,
  VirtualMachineImage: virtualMachineImage,
  VirtualMachineOperation: virtualMachineOperation,
  VirtualMachineSnapshot: virtualMachineSnapshot,
  VirtualMachineRestore: virtualMachineRestore,
  VirtualMachineSnapshotSchedule: virtualMachineSnapshotSchedule,
};

function manifestsIn(text: string) {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as { apiVersion?: string; kind?: string; metadata?: object } | null)
    .filter((each) => each?.apiVersion?.startsWith('vmstead.io/'));
}

function sources(): [name: string, yaml: string][] {
  const examples = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.yaml'));
  const pages = [
    'README.md',
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
  ];
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  return [
    ...examples.map((name): [string, string] => [`examples/${name}`, read(join('examples', name))]),
    ...pages.flatMap((page) =>
      [...read(page).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match, index): [string, string] => [
        `${page}, block ${index + 1}`,
        match[1] ?? '',
      ]),
    ),
  ];
}

describe('manifests of the examples and the docs', () => {
  const found = sources().flatMap(([name, yaml]) =>
    manifestsIn(yaml).map((manifest) => [name, manifest] as const),
  );

  it('are there', () => {
    expect(found.length).toBeGreaterThan(8);
  });

  it.each(found)('%s', (_, manifest) => {
    // generateName stands for a name that the API server makes.
    const named = { ...manifest, metadata: { name: 'generated', ...manifest?.metadata } };
    expect(KINDS[manifest?.kind ?? '']?.safeParse(named).error?.issues).toBeUndefined();
  });
});
