import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERRORS, VmsteadError } from './errors.ts';

const root = join(import.meta.dirname, '..');

/** The program, without tests and without the table itself. */
async function sources(): Promise<string> {
  const texts: string[] = [];
  for (const part of ['operator', 'launcher', 'mover', 'agent', 'cli', 'crds']) {
    for (const file of await readdir(join(root, part), { recursive: true })) {
      const program = file.endsWith('.ts') && !file.endsWith('.test.ts');
      if (program && !(part === 'crds' && file === 'errors.ts')) {
        texts.push(await readFile(join(root, part, file), 'utf8'));
      }
    }
  }
  return texts.join('\n');
}

describe('error codes', () => {
  it('are all used: the table promises nothing that cannot happen', async () => {
    const program = await sources();
    expect(Object.keys(ERRORS).filter((code) => !program.includes(`'${code}'`))).toEqual([]);
  });

  it('are written like the reasons of conditions, with sentences', () => {
    for (const [code, { meaning, action }] of Object.entries(ERRORS)) {
      expect(code).toMatch(/^([A-Z][a-z]+)+$/);
      expect(meaning, code).toMatch(/^[^\n|]{20,}\.$/);
      expect(action, code).toMatch(/^[^\n|]{20,}\.$/);
    }
  });
});

it('VmsteadError carries its code and its cause', () => {
  const cause = new Error('EAGAIN');
  const error = new VmsteadError('DiskBusy', 'disk root is locked', { cause });
  expect(error).toMatchObject({
    name: 'VmsteadError',
    code: 'DiskBusy',
    message: 'disk root is locked',
    cause,
  });
});
