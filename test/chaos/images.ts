/**
 * `npm run fuzz -- [MINUTES] [SEED]`: images with damaged headers through the import, for a long time. It ends with
 * an error at the first that meets anything but an image or a refusal; the seed makes it again.
 */
import { fuzzImages } from '../qemu/support/image-fuzz.ts';
import { MoverBox } from '../qemu/support/mover.ts';

const minutes = Number(process.argv[2] ?? 10);
const first = Number(process.argv[3] ?? Date.now() % 1_000_000);
const end = Date.now() + minutes * 60_000;

await using box = await MoverBox.open();
const all: Record<string, number> = {};
for (let seed = first; Date.now() < end; seed++) {
  const seen = await fuzzImages(box, { seed, headers: 20_000, movers: 40 });
  for (const [what, times] of Object.entries(seen)) all[what] = (all[what] ?? 0) + times;
  console.log(`seed ${seed} done; in all ${JSON.stringify(all)}`);
}
