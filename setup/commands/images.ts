import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { buildImages, pushImage, pushImages } from '../../images/build.ts';
import type { Given } from '../command-module.ts';
import { exampleGuest, pushedGuestPath, pushedImagesPath } from '../deploy.ts';
import { exampleSteps, imageSteps, setUp } from '../steps/index.ts';

/** Builds the images; with `--push REGISTRY` pushes them too, and `npm start` with VMSTEAD_KUBECONFIG uses those. */
export async function run({ values }: Given): Promise<number> {
  const registry = values.push as string | undefined;
  await setUp([...imageSteps, ...(registry ? exampleSteps : [])]);
  const report = (message: string): void => console.log(message);
  let images = await buildImages({ report });
  if (registry) {
    images = await pushImages(images, registry, { report });
    await mkdir(dirname(pushedImagesPath), { recursive: true });
    await writeFile(pushedImagesPath, `${JSON.stringify({ images }, null, 2)}\n`);
    const guest = await pushImage(exampleGuest, registry, { report });
    await writeFile(pushedGuestPath, `${JSON.stringify({ guest }, null, 2)}\n`);
  }
  for (const [name, reference] of Object.entries(images)) console.log(`${name}: ${reference}`);
  if (registry) console.log(`For helm: --values ${relative(process.cwd(), pushedImagesPath)}`);
  return 0;
}
