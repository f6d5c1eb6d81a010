/** The launcher image as it lies unpacked on a node. */
import { docker } from '../../../images/docker.ts';
import type { Bed } from '../bed.ts';
import type { Measurement } from '../measurement.ts';
import { summarize } from '../statistics.ts';

const MB = 1_000_000;

export async function image({ images }: Bed): Promise<Measurement> {
  const size = Number(await docker(['image', 'inspect', '--format', '{{.Size}}', images.launcher]));
  return {
    bench: 'image',
    figures: [{ id: 'image.unpacked', unit: 'MB', summary: summarize([size / MB]) }],
    notes: [],
  };
}
