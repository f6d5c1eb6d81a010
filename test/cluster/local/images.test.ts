import { expect, it } from 'vitest';
import { fullName } from './images.ts';

it('names images as the runtimes of Kubernetes do', () => {
  expect(fullName('vmstead/operator:1')).toBe('docker.io/vmstead/operator:1');
  expect(fullName('debian:trixie-slim')).toBe('docker.io/library/debian:trixie-slim');
  expect(fullName('vmstead.test/pause:1')).toBe('vmstead.test/pause:1');
  expect(fullName('localhost:5000/a:1')).toBe('localhost:5000/a:1');
});
