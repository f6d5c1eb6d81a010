import { type KubeObject, keyOf } from './object.ts';

/** Finds the values under which an object is listed; an object may have none or many. */
export type IndexFunction<T> = (object: T) => readonly (string | undefined)[];

/** Objects by key, with indexes kept up to date. */
export class Store<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #functions: Readonly<Record<string, IndexFunction<T>>>;
  /** index name → value → keys. */
  readonly #indexes = new Map<string, Map<string, Set<string>>>();

  constructor(functions: Readonly<Record<string, IndexFunction<T>>> = {}) {
    this.#functions = functions;
    for (const name of Object.keys(functions)) this.#indexes.set(name, new Map());
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  by(index: string, value: string): readonly T[] {
    const values = this.#indexes.get(index);
    if (values === undefined) throw new Error(`there is no index "${index}"`);
    return Array.from(values.get(value) ?? [], (key) => this.#objects.get(key)!);
  }

  /** Puts an object in place of the one with its key; gives the latter. */
  set(object: T): T | undefined {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous !== undefined) this.#unlist(key, previous);
    this.#objects.set(key, object);
    for (const [name, values] of this.#indexes) {
      for (const value of this.#functions[name]!(object)) {
        if (value === undefined) continue;
        const keys = values.get(value);
        if (keys === undefined) values.set(value, new Set([key]));
        else keys.add(key);
      }
    }
    return previous;
  }

  delete(key: string): T | undefined {
    const previous = this.#objects.get(key);
    if (previous === undefined) return undefined;
    this.#unlist(key, previous);
    this.#objects.delete(key);
    return previous;
  }

  #unlist(key: string, object: T): void {
    for (const [name, values] of this.#indexes) {
      for (const value of this.#functions[name]!(object)) {
        if (value === undefined) continue;
        const keys = values.get(value);
        keys?.delete(key);
        if (keys?.size === 0) values.delete(value);
      }
    }
  }
}
