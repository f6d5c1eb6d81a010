/** Lines of a page: labelled values and tables. Every value is made harmless for the terminal. */
import { harmlessLine } from '../terminal-text.ts';

const LABEL_WIDTH = 14;
const WIDTH = 110;

/** `Label:   value`, wrapped below itself; an empty label continues the field above. */
export function field(label: string, value: string): string[] {
  return wrap(harmlessLine(value), WIDTH - LABEL_WIDTH).map((line, index) =>
    `${(index === 0 && label !== '' ? `${label}:` : '').padEnd(LABEL_WIDTH)}${line}`.trimEnd(),
  );
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** A heading and rows below it, columns aligned; nothing at all when there are no rows. */
export function table(
  heading: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  if (rows.length === 0) return [];
  const all = [columns, ...rows.map((row) => row.map(harmlessLine))];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => row[index]?.length ?? 0)));
  return [
    '',
    `${heading}:`,
    ...all.map((row) =>
      `  ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  ')}`.trimEnd(),
    ),
  ];
}
