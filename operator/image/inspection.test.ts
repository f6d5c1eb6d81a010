import { describe, expect, it } from 'vitest';
import { ANNOTATION, LABEL } from '../../crds/api.ts';
import { moverJob } from '../../crds/mover.ts';
import type { PersistentVolumeClaim, Pod } from '../kube/resources.ts';
import { planImage } from './plan.ts';
import { ImageCluster, METADATA } from './testing.ts';

const at = '2026-01-01T12:00:00Z';
const http = { http: { url: 'https://example/a.qcow2' } };

function podOf(cluster: ImageCluster): Pod {
  return [...cluster.stored.pods.values()].at(-1)!;
}
const targetOf = (pod: Pod) =>
  moverJob.parse(JSON.parse(pod.metadata.annotations?.[ANNOTATION.job] ?? '')).target.type;
const claimOf = (cluster: ImageCluster): PersistentVolumeClaim | undefined =>
  [...cluster.stored.claims.values()].find(({ metadata }) => metadata.labels?.[LABEL.image] === 'debian');
const stateOf = ({ stored }: ImageCluster) => {
  const ready = stored.image?.status?.conditions?.find(({ type }) => type === 'Ready');
  return `${stored.image?.status?.phase} ${ready?.reason}`;
};
const sizeOf = (claim: PersistentVolumeClaim | undefined) => claim?.spec?.resources?.requests?.storage;

describe('an image whose claim has no size', () => {
  it('is looked at first, then gets a claim that fits, then is brought in', () => {
    const cluster = new ImageCluster();
    cluster.addImage(http, {});
    cluster.reconcile();
    const look = podOf(cluster);
    expect(targetOf(look)).toBe('none');
    expect(claimOf(cluster)).toBeUndefined();
    cluster.startPod(look);
    cluster.reconcile();
    expect(stateOf(cluster)).toBe('Pending Inspecting');
    cluster.endPod(look, { result: 'Succeeded', image: METADATA, seconds: 1, at });
    cluster.reconcile();
    expect(sizeOf(claimOf(cluster))).toBe('33Mi');
    cluster.reconcile();
    cluster.reconcile();
    expect([...cluster.stored.pods.values()].map(targetOf)).toEqual(['file']);
  });

  it('of a device is as large as the image, without room for a file system', () => {
    const cluster = new ImageCluster();
    cluster.addImage(http, { volumeMode: 'Block' });
    cluster.reconcile();
    cluster.startPod(podOf(cluster));
    cluster.endPod(podOf(cluster), { result: 'Succeeded', image: METADATA, seconds: 1, at });
    cluster.reconcile();
    expect(sizeOf(claimOf(cluster))).toBe('1Mi');
  });

  it('fails where the source does not tell, and goes on when the size is given', () => {
    const cluster = new ImageCluster();
    cluster.addImage(http, {});
    cluster.reconcile();
    cluster.startPod(podOf(cluster));
    const message = 'nothing tells how large the disk is; set spec.claim.size';
    cluster.endPod(podOf(cluster), { result: 'Failed', code: 'ImageSizeUnknown', message, retry: false, at });
    cluster.reconcile();
    expect(stateOf(cluster)).toBe('Failed ImageSizeUnknown');
    const image = cluster.stored.image!;
    cluster.stored.image = {
      ...image,
      metadata: { ...image.metadata, generation: 2 },
      spec: { ...image.spec, claim: { size: '3Gi' } },
    };
    cluster.reconcile();
    expect(sizeOf(claimOf(cluster))).toBe('3Gi');
  });

  it('has its size from another image without a look, and an upload waits for its sender', () => {
    const cluster = new ImageCluster();
    cluster.addImage({ claim: { name: 'other' } }, {});
    cluster.addClaim('other');
    const other = cluster.stored.claims.get('other')!;
    const annotations = { [ANNOTATION.image]: JSON.stringify({ ...METADATA, actualBytes: 2 ** 30 }) };
    cluster.stored.claims.set('other', { ...other, metadata: { ...other.metadata, annotations } });
    cluster.reconcile();
    expect(cluster.stored.pods.size).toBe(0);
    expect(sizeOf(claimOf(cluster))).toBe('1120Mi');

    const sent = new ImageCluster();
    sent.addImage({ upload: {} }, {});
    expect(planImage(sent.world())).toMatchObject({
      actions: [],
      decision: { wait: { reason: 'WaitingForUpload' } },
    });
  });
});
