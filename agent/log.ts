/** The operator's log lines, without the 2.5 MiB that pino takes: the agent runs on every node. */
type Values = Record<string, unknown>;

export interface Log {
  debug(message: string, values?: Values): void;
  info(message: string, values?: Values): void;
  warn(message: string, values?: Values): void;
  error(message: string, values?: Values): void;
}

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;
export type LogLevel = keyof typeof LEVELS;

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(LEVELS, text);
}

/** A logger that writes lines of JSON, from the given level on. */
export function createLog(
  name: string,
  level: LogLevel,
  write = (line: string) => process.stdout.write(line),
): Log {
  const at =
    (of: LogLevel) =>
    (message: string, values: Values = {}) => {
      if (LEVELS[of] < LEVELS[level]) return;
      const line = { level: of, time: new Date().toISOString(), name, ...values, message };
      write(`${JSON.stringify(line)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
