/** docs/chaos.md: one section for each kind of run, each with that run's last result. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../../setup/paths.ts';

const PATH = join(root, 'docs', 'chaos.md');

const TITLES = { failpoints: 'Failpoints', soak: 'Random blows' } as const;

export type Section = keyof typeof TITLES;

const HEAD = `# Chaos: the last runs

What longer fault runs saw last. \`npm run chaos\` writes the first part, \`npm run soak\` the second one; [Tests](testing.md) has what is broken on every \`npm test\`.
`;

/** The page with one section made anew and the others as they were. Pure. */
export function withSection(page: string, section: Section, text: string): string {
  const parts = Object.entries(TITLES).map(([name, title]) => {
    const now = name === section ? text.trim() : sectionOf(page, title);
    return now === '' ? '' : `\n## ${title}\n\n${now}\n`;
  });
  return `${HEAD}${parts.join('')}`;
}

function sectionOf(page: string, title: string): string {
  const [, after = ''] = page.split(`\n## ${title}\n`);
  return (after.split('\n## ')[0] ?? '').trim();
}

/** A section's rows of a table, by their first cell. */
export async function rowsOf(section: Section): Promise<Map<string, string>> {
  const page = await readFile(PATH, 'utf8').catch(() => '');
  const lines = sectionOf(page, TITLES[section]).split('\n');
  return new Map(lines.flatMap((line) => (/^\| `/.test(line) ? [[line.split(' | ')[0]!, line]] : [])));
}

/** Writes one section, and leaves the other one as it is. */
export async function record(section: Section, text: string): Promise<void> {
  const page = await readFile(PATH, 'utf8').catch(() => '');
  await writeFile(PATH, withSection(page, section, text));
}

/** The day of a run, as pages have it. */
export const today = (): string => new Date().toISOString().slice(0, 10);

/** A cell of a table: one line without bars. */
export const cell = (text: string): string => (text.split('\n')[0] ?? '').replaceAll('|', '\\|');
