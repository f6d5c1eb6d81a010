/** What a command is called with, checked. */
export interface Given {
  /** As they were written. */
  readonly args: readonly string[];
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** Those without a dash. */
  readonly words: readonly string[];
}

/** A command's module; `run` returns the exit code. */
export interface CommandModule {
  run(given: Given): Promise<number>;
}

export interface CommandOption {
  /** Name of the value in the help; absent: the option takes none. */
  readonly value?: string;
  readonly default?: string;
  /** The value is a number, and at least this. */
  readonly least?: number;
  readonly text: string;
}

/** A command of `npm run`. */
export interface Command {
  readonly summary: string;
  readonly options?: Readonly<Record<string, CommandOption>>;
  /** Arguments without a dash; absent: it takes none. */
  readonly words?: {
    /** How they are written in the usage line. */
    readonly usage: string;
    readonly most?: number;
    readonly choices?: readonly string[];
    readonly numbers?: true;
  };
  /** Arguments go to another program, which knows what it takes. */
  readonly passesOn?: string;
  /** Loaded when it is called, so that one command's faults are not another's. */
  readonly load: () => Promise<CommandModule>;
}
