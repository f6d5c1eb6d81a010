/** What a mover pod is told to do, and the volumes that it needs for it. */
import { MOVER_PATH, type MoverJob, type MoverSource, UPLOAD_PORT } from '../../crds/mover.ts';
import { parsedBytes } from '../../crds/quantity.ts';
import type { VirtualMachineImage } from '../../crds/virtual-machine-image.ts';
import type { PersistentVolumeClaim } from '../kube/resources.ts';
import { metadataOf } from './metadata.ts';
import type { ImageWorld } from './world.ts';

/** Largest disk that an image may be for a guest: the bound of what a compressed file may become. */
const MAX_VIRTUAL_BYTES = 16 * 1024 ** 4;

export function moverJobOf(
  world: ImageWorld,
  image: VirtualMachineImage,
  claim: PersistentVolumeClaim | undefined,
  attempt: number,
): MoverJob {
  const { namespace, name, defaults } = world;
  return {
    version: 1,
    image: { namespace, name, uid: image.metadata.uid ?? '' },
    attempt,
    source: sourceOf(world, image),
    target: targetOf(claim),
    maxVirtualBytes: MAX_VIRTUAL_BYTES,
    ...(defaults.channel ? { channel: defaults.channel } : {}),
  };
}

/** @param claim absent: it only looks at the source */
function targetOf(claim: PersistentVolumeClaim | undefined): MoverJob['target'] {
  if (!claim) return { type: 'none' };
  return isBlock(claim)
    ? { type: 'block', path: MOVER_PATH.blockTarget }
    : { type: 'file', directory: MOVER_PATH.target };
}

export const isBlock = (claim: PersistentVolumeClaim | undefined): boolean =>
  claim?.spec?.volumeMode === 'Block';

function sourceOf({ sourceClaim, snapshot }: ImageWorld, { spec }: VirtualMachineImage): MoverSource {
  const { http, containerImage, upload, claim } = spec.source;
  if (spec.source.snapshot) {
    return { type: 'snapshot', directory: MOVER_PATH.source, snapshot: snapshot?.metadata.uid ?? '' };
  }
  if (http) {
    const expected = http.checksumURL === undefined ? checksumOf(http.checksum) : { url: http.checksumURL };
    return {
      type: 'http',
      url: http.url,
      ...(expected === undefined ? {} : { checksum: expected }),
      ...(http.secretRef ? { secretDirectory: MOVER_PATH.sourceSecret } : {}),
      ...(http.caConfigMapRef ? { caDirectory: MOVER_PATH.sourceCa } : {}),
      ...(http.proxy === undefined ? {} : { proxy: http.proxy }),
      allowPrivateAddresses: http.allowPrivateAddresses === true,
    };
  }
  if (containerImage) {
    const { path } = containerImage;
    return { type: 'image', directory: MOVER_PATH.sourceImage, ...(path === undefined ? {} : { path }) };
  }
  if (claim) {
    if (!isBlock(sourceClaim)) return { type: 'claim', directory: MOVER_PATH.source };
    const bytes = metadataOf(sourceClaim)?.bytes;
    return { type: 'block', path: MOVER_PATH.blockSource, ...(bytes === undefined ? {} : { bytes }) };
  }
  if (upload) {
    const checksum = checksumOf(upload.checksum);
    return { type: 'upload', port: UPLOAD_PORT, ...(checksum ? { checksum } : {}) };
  }
  return { type: 'blank', bytes: Number(parsedBytes(spec.claim?.size) ?? 0n) };
}

function checksumOf(text: string | undefined) {
  if (text === undefined) return undefined;
  const [algorithm, digest = ''] = text.split(':');
  return { algorithm: algorithm as 'sha256' | 'sha512', digest };
}
