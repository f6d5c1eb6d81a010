import type { Io } from './io.ts';
import type { OptionValues } from './options.ts';

/** What a command is run with. */
export interface Invocation {
  readonly options: OptionValues;
  /** Arguments after the command's name. */
  readonly names: readonly string[];
  readonly io: Io;
}
