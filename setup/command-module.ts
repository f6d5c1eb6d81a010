/** A command's module; `run` returns the exit code. */
export interface CommandModule {
  run(args: readonly string[]): Promise<number>;
}
