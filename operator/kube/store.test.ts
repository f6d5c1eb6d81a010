import { expect, test } from 'vitest';
import type { KubeObject } from './object.ts';
import { Store } from './store.ts';

interface Thing extends KubeObject {
  readonly tags: readonly string[];
}
const thing = (name: string, ...tags: string[]): Thing => ({
  metadata: { name, namespace: 'n', uid: name, resourceVersion: '1' },
  tags,
});

test('indexes follow every change of an object', () => {
  const store = new Store<Thing>({ tag: (object) => object.tags, none: () => [undefined] });
  store.set(thing('a', 'x', 'y'));
  store.set(thing('b', 'y'));
  expect(store.by('tag', 'y').map((o) => o.metadata.name)).toEqual(['a', 'b']);
  expect(store.set(thing('a', 'z'))?.tags).toEqual(['x', 'y']);
  expect(store.by('tag', 'x')).toEqual([]);
  expect(store.by('tag', 'y').map((o) => o.metadata.name)).toEqual(['b']);
  expect(store.by('tag', 'z').map((o) => o.metadata.name)).toEqual(['a']);
  store.delete('n/b');
  expect(store.by('tag', 'y')).toEqual([]);
  expect(store.delete('n/b')).toBeUndefined();
  expect(store.size).toBe(1);
});

test('a question to an index that is not there is an error, not an empty answer', () => {
  expect(() => new Store<Thing>().by('owner', 'x')).toThrow('there is no index "owner"');
});
