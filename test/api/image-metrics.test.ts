import { spawn } from 'node:child_process';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { ImageMetrics } from '../../operator/image/image-metrics.ts';
import type { StoredImage } from '../../operator/image/resources.ts';
import { binary } from '../../setup/paths.ts';

const image = (name: string, status: StoredImage['status']): StoredImage => ({
  apiVersion: 'vmstead.io/v1alpha1',
  kind: 'VirtualMachineImage',
  metadata: {
    name,
    namespace: 'shop',
    uid: name,
    resourceVersion: '1',
    creationTimestamp: '2026-01-01T12:00:00Z',
  },
  spec: { source: { upload: {} } },
  ...(status ? { status } : {}),
});

it('promtool finds nothing wrong with what is told of images', async () => {
  const ready = {
    phase: 'Ready',
    actualSize: '1536Ki',
    virtualSize: '2Gi',
    attempts: 2,
    importedAt: '2026-01-01T12:00:07Z',
  } as const;
  const images = [
    image('debian', ready),
    image('new', undefined),
    image('coming', { phase: 'Importing', attempts: 1, progress: { transferredBytes: 77 } }),
  ];
  const registry = new Registry();
  const metrics = new ImageMetrics(registry, () => images);
  metrics.observe(image('debian', { phase: 'Importing' }), ready);
  // One whose status was lost was not brought in just now.
  metrics.observe(image('debian', undefined), ready);
  const text = await registry.metrics();
  for (const line of [
    'vmstead_images{phase="Pending"} 1',
    'vmstead_images{phase="Failed"} 0',
    'vmstead_image_ready{namespace="shop",name="debian"} 1',
    'vmstead_image_ready{namespace="shop",name="coming"} 0',
    'vmstead_image_stored_bytes{namespace="shop",name="debian"} 1572864',
    'vmstead_image_virtual_bytes{namespace="shop",name="debian"} 2147483648',
    'vmstead_image_transferred_bytes{namespace="shop",name="coming"} 77',
    'vmstead_image_attempts{namespace="shop",name="debian"} 2',
    'vmstead_image_import_duration_seconds_bucket{le="10"} 1',
    'vmstead_image_import_duration_seconds_sum 7',
  ]) {
    expect(text).toContain(`\n${line}\n`);
  }
  const child = spawn(binary('promtool', 'promtool'), ['check', 'metrics']);
  let words = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (words += data));
  child.stdin.end(text);
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, words }).toEqual({ code: 0, words: '' });
});
