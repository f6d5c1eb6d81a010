/** What the operator tells Prometheus of all images. */
import { Gauge, Histogram, type Registry } from 'prom-client';
import { parsedBytes } from '../../crds/quantity.ts';
import { imagePhase, type VirtualMachineImageStatus } from '../../crds/virtual-machine-image.ts';
import type { StoredImage } from './resources.ts';

/** Seconds; from a small image in the cluster to a large one over a slow line. */
const IMPORT_SECONDS = [2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400];

export class ImageMetrics {
  readonly #seconds: Histogram;

  /** `images` gives the leader's view at each scrape: nothing is left of an image that was deleted. */
  constructor(registry: Registry, images: () => Iterable<StoredImage>) {
    const registers = [registry];
    new Gauge({
      name: 'vmstead_images',
      help: 'VirtualMachineImages by phase.',
      labelNames: ['phase'],
      registers,
      collect() {
        this.reset();
        for (const phase of imagePhase.options) this.set({ phase }, 0);
        for (const { status } of images()) this.inc({ phase: status?.phase ?? 'Pending' });
      },
    });
    const each = (
      name: string,
      help: string,
      value: (status: VirtualMachineImageStatus) => number | undefined,
    ) =>
      new Gauge({
        name: `vmstead_image_${name}`,
        help,
        labelNames: ['namespace', 'name'],
        registers,
        collect() {
          this.reset();
          for (const { metadata, status } of images()) {
            const found = status && value(status);
            if (found !== undefined)
              this.set({ namespace: metadata.namespace ?? '', name: metadata.name }, found);
          }
        },
      });
    each('ready', '1 while the image may be used.', ({ phase }) => (phase === 'Ready' ? 1 : 0));
    each('stored_bytes', 'Room that the image takes in its claim.', ({ actualSize }) => bytes(actualSize));
    each('virtual_bytes', 'Size of the disk that a guest sees.', ({ virtualSize }) => bytes(virtualSize));
    each(
      'transferred_bytes',
      'Bytes read so far, while it is brought in.',
      ({ progress }) => progress?.transferredBytes,
    );
    each('attempts', 'Times that the import was begun.', ({ attempts }) => attempts);
    this.#seconds = new Histogram({
      name: 'vmstead_image_import_duration_seconds',
      help: 'Time from the creation of the object until the image was complete.',
      buckets: IMPORT_SECONDS,
      registers,
    });
  }

  /** Counts an image that is Ready by this status and was not before. */
  observe(
    { metadata, status: before }: Pick<StoredImage, 'metadata' | 'status'>,
    after: VirtualMachineImageStatus,
  ): void {
    // Without a status before, it is one that was lost: the import was long ago.
    if (after.phase !== 'Ready' || before?.phase === undefined || before.phase === 'Ready') return;
    const seconds =
      (Date.parse(after.importedAt ?? '') - Date.parse(metadata.creationTimestamp ?? '')) / 1000;
    if (seconds >= 0) this.#seconds.observe(seconds);
  }
}

const bytes = (quantity: string | undefined): number | undefined => {
  const parsed = parsedBytes(quantity);
  return parsed === undefined ? undefined : Number(parsed);
};
