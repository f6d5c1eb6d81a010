import { argumentsOf, commandHelp, overview, UsageError, wantsHelp } from './arguments.ts';
import { commands } from './commands.ts';
import { SetupError } from './steps/step.ts';

const [name = '', ...args] = process.argv.slice(2);

async function main(): Promise<number> {
  const command = commands[name];
  if (command === undefined) {
    throw new UsageError(
      `${name === '' ? 'Which command?' : `There is no command "${name}".`}\n\n${overview(commands)}`,
    );
  }
  if (wantsHelp(args)) {
    console.log(commandHelp(name, command));
    return 0;
  }
  const given = argumentsOf(name, command, args);
  const { run } = await command.load();
  return await run(given);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof SetupError || error instanceof UsageError) console.error(error.message);
  else
    console.error(error instanceof Error ? (process.env.VMSTEAD_DEBUG ? error.stack : error.message) : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
// Idle connections to the Docker engine must not keep a finished command waiting.
process.exit();
