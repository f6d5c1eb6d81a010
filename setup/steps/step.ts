/** What a running step may use to tell how far it is. */
export interface StepContext {
  /** A line for the step's log file. */
  log(line: string): void;
  /** How far it is, 0 to 1 (undefined: cannot be told), and what it is at. */
  progress(fraction: number | undefined, note?: string): void;
  /** Runs a program with its output in the log. @throws Error when it fails */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<void>;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Sees every line of its output. */
  onLine?: (line: string) => void;
}

/** One named piece of the set-up. */
export interface Step {
  /** Unique; also the name of its log file. */
  readonly name: string;
  /** What it makes, in a person's words. */
  readonly title: string;
  /** Names of the steps that must be done before. */
  readonly needs: readonly string[];
  /** Steps of one lane never run at the same time (they would only take each other's processors or locks). */
  readonly lane?: string;
  /** Whether there is nothing to do: quick, and true only for what is complete. Asked after `needs` are done. */
  isDone(): Promise<boolean>;
  run(context: StepContext): Promise<void>;
}

/** A person must do something first; the message says what, in one line. */
export class SetupError extends Error {}
