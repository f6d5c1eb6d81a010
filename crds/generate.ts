/** Writes the CRDs, the reference pages and the page of error codes; a test holds the files in git to what this makes. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { GROUP } from './api.ts';
import { errorsPage } from './errors-page.ts';
import { KINDS } from './kinds.ts';
import { toReference } from './reference.ts';
import { toCrd } from './to-crd.ts';

const HEADER = '# Generated from crds/ by `npm run generate`; change it there.\n';

/** Path below the project's folder → content. */
export function generatedFiles(): Map<string, string> {
  const files = new Map<string, string>();
  for (const kind of KINDS) {
    // Helm and kubectl read YAML 1.1, where a bare On is the boolean true.
    files.set(
      `crds/generated/${GROUP}_${kind.plural}.yaml`,
      HEADER + stringify(toCrd(kind), { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false }),
    );
    files.set(`docs/reference/${kind.singular}.md`, toReference(kind));
  }
  files.set('docs/errors.md', errorsPage());
  return files;
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  for (const [path, content] of generatedFiles()) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), content);
    console.log(path);
  }
}
