/** What the launcher needs of a logger: `json-log.ts` writes it, and is loaded only when QEMU runs. */
type Write = (fields: Record<string, unknown>, message: string) => void;

export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type Level = (typeof LEVELS)[number];

/** Keeps what is logged until the real logger is there. */
export class EarlyLog implements Log {
  private kept: { level: Level; fields: Record<string, unknown>; message: string }[] = [];
  private real: Log | undefined;
  readonly debug = this.writer('debug');
  readonly info = this.writer('info');
  readonly warn = this.writer('warn');
  readonly error = this.writer('error');

  useFrom(real: Log): void {
    this.real = real;
    for (const { level, fields, message } of this.kept) real[level](fields, message);
    this.kept = [];
  }

  private writer(level: Level): Write {
    return (fields, message) => {
      if (this.real !== undefined) this.real[level](fields, message);
      else this.kept.push({ level, fields: { at: new Date().toISOString(), ...fields }, message });
    };
  }
}
