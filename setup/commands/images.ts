import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { buildImages, pushImages } from '../../images/build.ts';
import { pushedImagesPath } from '../deploy.ts';
import { imageSteps, setUp } from '../steps/index.ts';

/** Builds the images; with `--push REGISTRY` pushes them too, and `npm start` with VMSTEAD_KUBECONFIG uses those. */
export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { push: { type: 'string' } } });
  await setUp(imageSteps);
  const report = (message: string): void => console.log(message);
  let images = await buildImages({ report });
  if (values.push) {
    images = await pushImages(images, values.push, { report });
    await mkdir(dirname(pushedImagesPath), { recursive: true });
    await writeFile(pushedImagesPath, `${JSON.stringify(images, null, 2)}\n`);
  }
  console.log('Chart values:');
  for (const [name, reference] of Object.entries(images)) console.log(`  --set images.${name}=${reference}`);
  return 0;
}
