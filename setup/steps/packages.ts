import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { SetupError, type StepContext } from './step.ts';

/** Whether a program is on the PATH (or where Debian keeps root's). */
export async function hasProgram(name: string): Promise<boolean> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    try {
      await access(join(folder, name), constants.X_OK);
      return true;
    } catch {
      // Not in this folder.
    }
  }
  return false;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** apt-get takes one lock for the whole machine, and steps run side by side. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * Installs Debian packages.
 *
 * @param why completes "is needed …", for a person who has to do it
 * @throws SetupError without root or without apt-get
 */
export async function installPackages(
  context: StepContext,
  packages: readonly string[],
  why: string,
): Promise<void> {
  const names = packages.join(' ');
  const how = (await hasProgram('apt-get'))
    ? `run "apt-get install ${names}" as root`
    : `install ${names} with your system's package manager`;
  if (!isRoot() || !(await hasProgram('apt-get'))) throw new SetupError(`${names} is needed ${why}: ${how}`);
  const mine = turn.then(async () => {
    const apt = async (...args: string[]): Promise<void> => {
      let done = 0;
      await context.run('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], {
        env: { DEBIAN_FRONTEND: 'noninteractive' },
        onLine: (line) => {
          if (/^(Get:|Unpacking|Setting up)/.test(line))
            context.progress(undefined, `${++done} ${line.slice(0, 50)}`);
        },
      });
    };
    const install = ['install', '--yes', '--no-install-recommends', ...packages];
    try {
      await apt(...install);
    } catch {
      // A fresh machine has no package lists, an old one has stale ones.
      await apt('update');
      await apt(...install);
    }
  });
  turn = mine.catch(() => {});
  await mine;
}
