/** kubectl-vm */
import { parseArguments } from './arguments.ts';
import { explain } from './explain.ts';
import { commandHelp, overview } from './help.ts';
import { terminalIo } from './io.ts';

// `kubectl vm logs web | head` ends quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  const [first, ...rest] = process.argv.slice(2);
  if (first === '__complete') await (await import('./completion/complete.ts')).complete(rest, terminalIo);
  else await run(process.argv.slice(2));
} catch (error) {
  const { message, exitCode } = explain(error);
  terminalIo.note(`kubectl vm: ${message}`);
  if (process.env.VMSTEAD_DEBUG && error instanceof Error) terminalIo.note(error.stack ?? '');
  process.exitCode = exitCode;
}

async function run(args: readonly string[]): Promise<void> {
  const parsed = parseArguments(args);
  if (parsed.help) {
    terminalIo.print((parsed.command ? commandHelp(parsed.command) : overview()).trimEnd());
  } else {
    await parsed.command.run({ options: parsed.options, names: parsed.names, io: terminalIo });
  }
}
