/** The launcher's log: JSON lines like the operator's (docs/logging.md), without the memory that pino takes. */
import type { MachineDescription } from '../crds/machine-description.ts';
import type { Log } from './log.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type Level = (typeof LEVELS)[number];

/** @param write of a whole line; standard error, which waits for its reader */
export function jsonLog(
  { vm, incarnation }: Pick<MachineDescription, 'vm' | 'incarnation'>,
  write: (line: string) => void = standardError(),
): Log {
  const wanted = LEVELS.indexOf((process.env.VMSTEAD_LOG_LEVEL ?? 'info') as Level);
  const least = wanted === -1 ? LEVELS.indexOf('info') : wanted;
  const base = { component: 'launcher', namespace: vm.namespace, vm: vm.name, incarnation };
  const at = (level: Level) => (fields: Record<string, unknown>, message: string) => {
    if (LEVELS.indexOf(level) < least) return;
    const line = { level, time: new Date().toISOString(), ...base, ...fields, message };
    write(`${JSON.stringify(line, withErrors)}\n`);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function standardError(): (line: string) => void {
  // A log that nobody takes any more is no reason to end.
  process.stderr.on('error', () => {});
  return (line) => void process.stderr.write(line);
}

/** JSON has nothing to say of errors. */
function withErrors(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  return { type: value.name, message: value.message, stack: value.stack };
}
