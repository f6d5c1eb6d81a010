import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WorkQueue } from './queue.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a work queue', () => {
  test('gives each waiting key once, in order', async () => {
    const queue = new WorkQueue('test');
    for (const key of ['a', 'b', 'a']) queue.add(key);
    expect(queue.depth).toBe(2);
    expect([await queue.take(), await queue.take()]).toEqual(['a', 'b']);
    expect(queue.depth).toBe(0);
  });

  test('never gives a key to two workers, and gives it again when it was added meanwhile', async () => {
    const queue = new WorkQueue('test');
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    let second: string | undefined;
    void queue.take().then((key) => {
      second = key;
    });
    await vi.advanceTimersByTimeAsync(1000);
    expect(second).toBeUndefined();
    queue.done('a');
    await vi.advanceTimersByTimeAsync(0);
    expect(second).toBe('a');
    queue.done('a');
    expect(queue.depth).toBe(0);
  });

  test('of several wishes for later the earliest counts', async () => {
    const queue = new WorkQueue('test');
    queue.addAfter('a', 5000);
    queue.addAfter('a', 1000);
    queue.addAfter('a', 9000);
    await vi.advanceTimersByTimeAsync(999);
    expect(queue.depth).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(queue.depth).toBe(1);
    await queue.take();
    queue.done('a');
    await vi.advanceTimersByTimeAsync(20_000);
    expect(queue.depth).toBe(0);
  });

  test('a run ends the wishes for later that were there before it', async () => {
    const queue = new WorkQueue('test');
    queue.addAfter('a', 1000);
    queue.add('a');
    await queue.take();
    queue.addAfter('a', 5000);
    queue.done('a');
    await vi.advanceTimersByTimeAsync(4999);
    expect(queue.depth).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(queue.depth).toBe(1);
  });

  test('pauses double with each failure up to a minute, and begin anew after a success', () => {
    const queue = new WorkQueue('test');
    const pauses = Array.from({ length: 16 }, () => queue.addFailed('a'));
    expect(pauses.slice(0, 4)).toEqual([5, 10, 20, 40]);
    expect(pauses.at(-1)).toBe(60_000);
    expect(queue.addFailed('b')).toBe(5);
    queue.forget('a');
    expect(queue.addFailed('a')).toBe(5);
  });

  test('closed, it lets workers go and takes nothing more', async () => {
    const queue = new WorkQueue('test');
    const waiting = queue.take();
    queue.addAfter('a', 10);
    queue.close();
    queue.add('b');
    await vi.advanceTimersByTimeAsync(100);
    expect(await waiting).toBeUndefined();
    expect(await queue.take()).toBeUndefined();
    expect(queue.depth).toBe(0);
  });

  test('reports how long keys waited', async () => {
    const waited: number[] = [];
    const queue = new WorkQueue('test', { depth: () => {}, waited: (_, seconds) => waited.push(seconds) });
    queue.add('a');
    await vi.advanceTimersByTimeAsync(2000);
    await queue.take();
    expect(waited[0]).toBeCloseTo(2, 3);
  });
});
