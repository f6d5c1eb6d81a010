/** vmstead run */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDisks } from '../../launcher/disks/prepare.ts';
import { prepareUefi } from '../../launcher/disks/uefi.ts';
import type { Log } from '../../launcher/log.ts';
import { commandLine } from '../../launcher/machine/command-line.ts';
import { launcherPaths } from '../../launcher/paths.ts';
import { EXIT_CODE } from '../../launcher/vm/ending.ts';
import { Life } from '../../launcher/vm/life.ts';
import { asyncIo } from '../../launcher/vm/start.ts';
import { Vm } from '../../launcher/vm/vm.ts';
import { explain } from '../explain.ts';
import { harmless } from '../terminal-text.ts';
import { parseRunArguments, type RunArguments, USAGE } from './arguments.ts';
import { QEMU, untilWeEnd } from './host.ts';
import { type LocalMachine, localMachine } from './local-machine.ts';
import { readManifest } from './manifest.ts';
import { consoleSession } from './session.ts';
import { shellLines } from './shell.ts';

/** The terminal may be raw: lines end with a carriage return too. */
function note(message: string): void {
  process.stderr.write(`\r\nvmstead: ${harmless(message)}\r\n`);
}

const quiet: Log = {
  debug() {},
  info() {},
  warn: (_, message) => note(message),
  error: (_, message) => note(message),
};

function dryRun({ description, forwardFrom }: LocalMachine, directory: string): string {
  const paths = launcherPaths(directory, directory);
  const { disks } = prepareDisks(description, asyncIo());
  const uefi = description.firmware;
  return shellLines(
    QEMU,
    commandLine(description, {
      run: paths,
      disks,
      forwardFrom,
      ...(description.cloudInit === undefined ? {} : { seed: paths.seed }),
      ...(uefi.type === 'UEFI' ? { uefiCode: prepareUefi(uefi.variables) } : {}),
    }),
  );
}

/** Tells what a cluster would have kept, and where the guest's ports are. */
function tellWhatDiffers({ description, forwardFrom }: LocalMachine, given: RunArguments): void {
  const thrownAway = description.disks
    .filter(
      ({ name, backend }) =>
        !given.disks.has(name) &&
        (backend?.type === 'image' || (backend !== undefined && 'create' in backend)),
    )
    .map(({ name }) => name);
  if (thrownAway.length > 0) {
    note(
      `what the guest writes to ${thrownAway.join(', ')} is thrown away at the end (--disk NAME=FILE keeps it)`,
    );
  }
  for (const [port, at] of forwardFrom.ports)
    note(`port ${port} of the guest is ${forwardFrom.address}:${at}`);
  note(`${description.accelerator === 'kvm' ? 'KVM' : 'emulation'}; Ctrl-] leaves and shuts the guest down`);
}

async function run(given: RunArguments): Promise<number> {
  const vmManifest = readManifest(given.file);
  const directory = mkdtempSync(join(tmpdir(), 'vmstead-run-'));
  try {
    const local = await localMachine(vmManifest, given, directory);
    if (given.dryRun) {
      process.stdout.write(`${dryRun(local, directory)}\n`);
      return 0;
    }
    const { description, forwardFrom } = local;
    const paths = launcherPaths(directory, directory);
    const life = Life.open(directory);
    const through = await untilWeEnd();
    const vm = new Vm({
      ...{ description, paths, life, log: quiet, program: QEMU, forwardFrom, onChange() {} },
      ...(through === undefined ? {} : { through }),
    });
    tellWhatDiffers(local, given);
    if (through === undefined) note('there is no setpriv (util-linux): if vmstead is killed, QEMU goes on');
    vm.begin();
    const ending = await consoleSession(vm, paths.console, note);
    note(ending.message);
    return ending.result === 'StoppedForced' ? 0 : EXIT_CODE[ending.result];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

try {
  const given = parseRunArguments(process.argv.slice(2));
  if (given === undefined) process.stdout.write(USAGE);
  else process.exitCode = await run(given);
} catch (error) {
  const { message, exitCode } = explain(error);
  note(message);
  if (process.env.VMSTEAD_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = exitCode;
}
