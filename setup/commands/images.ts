import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { buildImages, pushImage, pushImages } from '../../images/build.ts';
import { exampleGuest, pushedGuestPath, pushedImagesPath } from '../deploy.ts';
import { exampleSteps, imageSteps, setUp } from '../steps/index.ts';

/** Builds the images; with `--push REGISTRY` pushes them too, and `npm start` with VMSTEAD_KUBECONFIG uses those. */
export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { push: { type: 'string' } } });
  await setUp([...imageSteps, ...(values.push ? exampleSteps : [])]);
  const report = (message: string): void => console.log(message);
  let images = await buildImages({ report });
  if (values.push) {
    images = await pushImages(images, values.push, { report });
    await mkdir(dirname(pushedImagesPath), { recursive: true });
    await writeFile(pushedImagesPath, `${JSON.stringify({ images }, null, 2)}\n`);
    const guest = await pushImage(exampleGuest, values.push, { report });
    await writeFile(pushedGuestPath, `${JSON.stringify({ guest }, null, 2)}\n`);
  }
  for (const [name, reference] of Object.entries(images)) console.log(`${name}: ${reference}`);
  if (values.push) console.log(`For helm: --values ${relative(process.cwd(), pushedImagesPath)}`);
  return 0;
}
