/** The licences of the packages in a bundle, which go with it wherever it goes. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Folder of the package that a bundled file is from; undefined for our own files. */
function packageFolder(input: string): string | undefined {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
}

/**
 * @param root folder to which the inputs are relative
 * @param inputs paths of the bundled files
 * @throws Error for a package without a licence
 */
export async function licencesOf(root: string, inputs: readonly string[]): Promise<string> {
  const folders = [...new Set(inputs.flatMap((input) => packageFolder(input) ?? []))].sort();
  const texts = await Promise.all(
    folders.map(async (folder) => {
      const path = join(root, folder);
      const { name, version, license } = JSON.parse(
        await readFile(join(path, 'package.json'), 'utf8'),
      ) as Record<string, string>;
      const file = (await readdir(path)).find((each) => /^licen[cs]e/i.test(each));
      if (file === undefined && license === undefined) throw new Error(`${name} has no licence`);
      const text = file === undefined ? '' : (await readFile(join(path, file), 'utf8')).trim();
      return `${name} ${version} (${license})\n\n${text}\n`;
    }),
  );
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}
