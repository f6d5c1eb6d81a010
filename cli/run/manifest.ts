/** Reads the one VirtualMachine of a manifest. */
import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { VmsteadError } from '../../crds/errors.ts';
import { readVirtualMachine } from '../../crds/read.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';

/** Throws VmsteadError `Usage`, or `InvalidVirtualMachine` with the fields and what to write instead. */
export function readManifest(file: string): VirtualMachine {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new VmsteadError('Usage', `cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
  const documents = parseAllDocuments(text);
  const broken = documents.flatMap((document) => document.errors)[0];
  if (broken !== undefined) throw new VmsteadError('Usage', `${file} is no YAML: ${broken.message}`);
  const machines = documents
    .map((document) => document.toJS() as { kind?: unknown } | null)
    .filter((object) => object?.kind === 'VirtualMachine');
  if (machines.length !== 1) {
    throw new VmsteadError('Usage', `${file} has ${machines.length} VirtualMachines; vmstead run takes one`);
  }
  return readVirtualMachine(machines[0], file);
}
