import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandModule } from '../command-module.ts';
import { root } from '../paths.ts';
import { setUp, testSteps } from '../steps/index.ts';
import { passThrough } from './pass-through.ts';

/** A command that is a program of its own elsewhere in the project. */
export function scriptCommand(path: string, needs: 'nothing' | 'tests'): CommandModule {
  return {
    async run({ args }) {
      if (!existsSync(join(root, path))) throw new Error(`${path} is not in this version of Vmstead`);
      if (needs === 'tests') await setUp(testSteps);
      return passThrough(process.execPath, [join(root, path), ...args]);
    },
  };
}
