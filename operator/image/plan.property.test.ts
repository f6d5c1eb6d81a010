import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANNOTATION } from '../../crds/api.ts';
import type { MoverResult } from '../../crds/mover.ts';
import { ImageCluster, METADATA } from './testing.ts';

const at = '2026-01-01T12:00:00Z';
const RESULTS: Record<string, MoverResult | undefined> = {
  succeeded: { result: 'Succeeded', image: METADATA, seconds: 1, at },
  lost: { result: 'Failed', code: 'SourceLost', message: 'gone', retry: true, at },
  unusable: { result: 'Failed', code: 'ImageUnusable', message: 'no disk', retry: false, at },
  killed: undefined,
};

/** Snapshots that the cache is behind, and writes before the operator dies: mostly none, and never. */
const stale = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) });
const writes = fc.oneof(
  { weight: 3, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
  { weight: 1, arbitrary: fc.nat(5) },
);
/** With the size of the claim given, or found out. */
const claim = fc.constantFrom({ size: '1Gi' }, {});
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('reconcile' as const), stale, writes }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('start' as const), pod: fc.nat(3) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      pod: fc.nat(3),
      result: fc.constantFrom(...Object.keys(RESULTS)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), pod: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wipe' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recreate' as const), claim }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('time' as const), seconds: fc.constantFrom(1, 30, 900) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function perform(cluster: ImageCluster, each: Step): void {
  const pods = [...cluster.stored.pods.values()];
  const podAt = (index: number) => pods[index % pods.length];
  if (each.do === 'reconcile') cluster.reconcile(each.stale, each.writes);
  else if (each.do === 'time') cluster.now += each.seconds * 1000;
  else if (each.do === 'wipe') delete cluster.stored.image?.status;
  else if (each.do === 'recreate') {
    if (cluster.stored.image) cluster.stored.image = undefined;
    else cluster.addImage(undefined, each.claim);
  } else {
    const pod = podAt(each.pod);
    if (pod && each.do === 'start') cluster.startPod(pod);
    else if (pod && each.do === 'end') cluster.endPod(pod, RESULTS[each.result]);
    else if (pod) cluster.deletePod(pod.metadata.uid);
  }
  cluster.now += 10;
  cluster.snapshot();
}

/** Claims that two movers write to at once, and complete ones that anybody still writes to. */
function wrongs(cluster: ImageCluster): string[] {
  const writing = [...cluster.running.values()];
  const complete = [...cluster.stored.claims.values()]
    .filter(({ metadata }) => metadata.annotations?.[ANNOTATION.image] !== undefined)
    .map(({ metadata }) => metadata.uid);
  const podUids = new Set([...cluster.stored.pods.values()].map(({ metadata }) => metadata.uid));
  return [
    ...writing
      .filter((claim, index) => claim !== 'none' && writing.indexOf(claim) !== index)
      .map((claim) => `two write to ${claim}`),
    ...writing
      .filter((claim) => complete.includes(claim))
      .map((claim) => `${claim} is complete and written to`),
    ...[...cluster.running.keys()].filter((uid) => !podUids.has(uid)).map((uid) => `${uid} is forgotten`),
  ];
}

const runs = { numRuns: Number(process.env.VMSTEAD_PROPERTY_RUNS ?? 100) };

describe('whatever happens, in whatever order', () => {
  it('no claim has two writers, no complete image is written to, and no mover is forgotten', () => {
    fc.assert(
      fc.property(claim, fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), (first, steps) => {
        const cluster = new ImageCluster();
        cluster.addImage(undefined, first);
        cluster.snapshot();
        for (const each of steps) {
          perform(cluster, each);
          expect(wrongs(cluster)).toEqual([]);
        }
      }),
      runs,
    );
  });

  it('comes to rest: Ready where a mover succeeds, nothing left of an image that is gone', () => {
    fc.assert(
      fc.property(claim, fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), (first, steps) => {
        const cluster = new ImageCluster();
        cluster.addImage(undefined, first);
        cluster.snapshot();
        for (const each of steps) perform(cluster, each);
        let quiet = false;
        for (let round = 0; round < 60 && !quiet; round++) {
          cluster.now += 400_000;
          for (let i = 0; i < 4; i++) cluster.snapshot();
          quiet = cluster.reconcile() === 0;
          for (const pod of [...cluster.stored.pods.values()]) {
            const state = pod.status?.containerStatuses?.[0]?.state;
            if (state?.terminated) continue;
            if (pod.metadata.deletionTimestamp !== undefined) cluster.endPod(pod, undefined);
            else if (state?.running) cluster.endPod(pod, RESULTS.succeeded);
            else cluster.startPod(pod);
            quiet = false;
          }
        }
        expect(quiet).toBe(true);
        const { image, pods, leases, claims } = cluster.stored;
        if (!image) expect([pods.size, leases.size]).toEqual([0, 0]);
        else if (image.status?.phase === 'Ready') {
          expect([pods.size, leases.size]).toEqual([0, 0]);
          expect([...claims.values()].some(({ metadata }) => metadata.annotations?.[ANNOTATION.image])).toBe(
            true,
          );
        } else {
          // A person must change the spec.
          expect(image.status).toMatchObject({ phase: 'Failed', lastError: 'ImageUnusable: no disk' });
        }
      }),
      runs,
    );
  });
});
