import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentKey } from '../../../setup/paths.ts';

/** The folder with the node image's Dockerfile. */
export const nodeImageFolder = join(import.meta.dirname, 'node');

/** The node image's name; its tag follows its content. */
export function nodeImage(): string {
  const file = (name: string): string => readFileSync(join(nodeImageFolder, name), 'utf8');
  return `vmstead.test/node:${contentKey(file('Dockerfile'), file('entrypoint.sh'))}`;
}
