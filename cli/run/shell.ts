/** Arguments as a shell reads them. */
function shellQuoted(args: readonly string[]): string {
  return args
    .map((arg) => (/^[A-Za-z0-9_./:=@%+,-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}

/** One switch a line, with its value. */
export function shellLines(program: string, args: readonly string[]): string {
  const lines: string[][] = [[program]];
  for (const arg of args) {
    if (arg.startsWith('-')) lines.push([arg]);
    else lines.at(-1)!.push(arg);
  }
  return lines.map((line) => shellQuoted(line)).join(' \\\n  ');
}
