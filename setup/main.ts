import { commands } from './commands.ts';
import { SetupError } from './steps/step.ts';

const [name = '', ...args] = process.argv.slice(2);
const command = commands[name];
if (!command) {
  console.error(name === '' ? 'Which command?' : `There is no command "${name}".`);
  for (const [known, { summary }] of Object.entries(commands))
    console.error(`  npm run ${known.padEnd(10)} ${summary}`);
  process.exit(2);
}
try {
  const { run } = await command.load();
  process.exitCode = await run(args);
} catch (error) {
  if (error instanceof SetupError) console.error(error.message);
  else
    console.error(error instanceof Error ? (process.env.VMSTEAD_DEBUG ? error.stack : error.message) : error);
  process.exitCode = 1;
}
// Idle connections to the Docker engine must not keep a finished command waiting.
process.exit();
