import pino from 'pino';
import { expect, test, vi } from 'vitest';
import { Controller, type Reconciler, TerminalError } from './controller.ts';
import { noMetrics } from './metrics.ts';

/** Runs a reconciler until `until` holds; gives what the metrics and the log were told. */
async function run(reconcile: Reconciler, keys: string[], until: () => boolean, workers = 4) {
  const results: string[] = [];
  const lines: { level: number; msg: string; key: string }[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const controller = new Controller({
    name: 'test',
    reconcile,
    workers,
    log,
    metrics: { ...noMetrics, reconciled: (_, result) => results.push(result) },
  });
  const stop = new AbortController();
  const ended = controller.run(stop.signal);
  for (const key of keys) controller.enqueue(key);
  await vi.waitFor(() => expect(until()).toBe(true), { timeout: 2000, interval: 5 });
  stop.abort();
  await ended;
  return { results, lines };
}

test('a key that fails is tried again until it succeeds', async () => {
  let tries = 0;
  const { results, lines } = await run(
    async () => {
      if (++tries < 3) throw new Error(`try ${tries}`);
    },
    ['a'],
    () => tries === 3,
  );
  expect(results).toEqual(['error', 'error', 'done']);
  expect(lines.map((line) => line.key)).toEqual(['a', 'a']);
});

test('a terminal error is recorded and not tried again', async () => {
  let tries = 0;
  const { results, lines } = await run(
    async (key) => {
      if (key === 'end') return;
      tries++;
      throw new TerminalError('makes no sense');
    },
    ['bad', 'end'],
    () => tries > 0,
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(tries).toBe(1);
  expect(results).toContain('terminal');
  expect(lines[0]).toMatchObject({ level: 50, key: 'bad', err: { message: 'makes no sense' } });
});

test('a key comes back after the time that its reconciler gave', async () => {
  const at: number[] = [];
  await run(
    async () => {
      at.push(performance.now());
      return at.length < 2 ? { after: 60 } : undefined;
    },
    ['a'],
    () => at.length === 2,
  );
  expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(55);
});

test('workers share the keys, and the end waits for the runs under way', async () => {
  let now = 0;
  let most = 0;
  let ended = 0;
  await run(
    async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 30));
      now--;
      ended++;
    },
    ['a', 'b', 'c', 'd', 'e'],
    () => most === 2,
    2,
  );
  expect(most).toBe(2);
  expect(now).toBe(0);
  expect(ended).toBeGreaterThanOrEqual(2);
});
