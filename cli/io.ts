import { harmless } from './terminal-text.ts';

/** Where a command's text goes. All of it passes `harmless`: much of it was written by others. */
export interface Io {
  /** What was asked for: a line on the standard output. */
  print(line: string): void;
  /** What happens meanwhile: a line on the standard error. */
  note(line: string): void;
}

export const terminalIo: Io = {
  print: (line) => {
    process.stdout.write(`${harmless(line)}\n`);
  },
  note: (line) => {
    process.stderr.write(`${harmless(line)}\n`);
  },
};
