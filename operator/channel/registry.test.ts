import { Duplex, duplexPair } from 'node:stream';
import pino from 'pino';
import { describe, expect, test, vi } from 'vitest';
import type { LauncherIdentity } from './identity.ts';
import { LauncherRegistry } from './registry.ts';

const identity: LauncherIdentity = { namespace: 'default', podName: 'vm-web-1', podUid: 'uid-1', vm: 'web' };
const hello = { type: 'hello', protocol: 1, launcherVersion: '0.1.0', incarnation: 1, restarts: 0 };
const report = (state: string) => ({ type: 'report', report: { state } });

/** A launcher's end of a connection that the registry has accepted. */
class Launcher {
  readonly #end: Duplex;
  readonly received: { type: string; id?: string; name?: string }[] = [];
  closed = false;

  constructor(registry: LauncherRegistry, who = identity) {
    const [ours, theirs] = duplexPair();
    this.#end = ours;
    let rest = '';
    ours.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      this.received.push(...lines.map((line) => JSON.parse(line)));
    });
    // A pair of streams does not pass destruction on as a socket does.
    theirs.on('close', () => {
      this.closed = true;
    });
    registry.accept(who, theirs);
  }

  say(...messages: object[]): this {
    for (const message of messages) this.#end.write(`${JSON.stringify(message)}\n`);
    return this;
  }

  raw(text: string): void {
    this.#end.write(text);
  }

  hangUp(): void {
    this.#end.end();
  }
}

function setUp(options: { commandDeadlineMs?: number } = {}) {
  const told: string[] = [];
  const registry = new LauncherRegistry({
    log: pino({ level: 'silent' }),
    commandDeadlineMs: options.commandDeadlineMs ?? 1_000,
  });
  registry.onChange((who) => told.push(who.podUid));
  return { registry, told };
}
/** Streams pass data on in turns of the event loop. */
const streamsRest = async () => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
};
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 2000, interval: 5 });

describe('a launcher', () => {
  test('is known when it has said hello, with its last report', async () => {
    const { registry, told } = setUp();
    const launcher = new Launcher(registry);
    expect(registry.get('uid-1')).toBeUndefined();
    launcher.say(hello, report('Starting'), report('Running'), report('Running'));
    await eventually(() => expect(registry.get('uid-1')?.report).toEqual({ state: 'Running' }));
    expect(registry.get('uid-1')).toMatchObject({ identity, hello: { incarnation: 1 } });
    // Hello, and two reports that said something new.
    expect(told).toHaveLength(3);
    expect(registry.size).toBe(1);
  });

  test('that hangs up is lost; what it said last stays until it is forgotten', async () => {
    const { registry, told } = setUp();
    const launcher = new Launcher(registry).say(hello, report('Running'));
    await eventually(() => expect(told).toHaveLength(2));
    registry.forget('uid-1');
    expect(registry.lastReport('uid-1')?.connected).toBe(true);
    launcher.hangUp();
    await eventually(() => expect(registry.get('uid-1')).toBeUndefined());
    expect(told).toHaveLength(3);
    expect(registry.lastReport('uid-1')).toMatchObject({ connected: false, report: { state: 'Running' } });
    expect(registry.size).toBe(0);
    registry.forget('uid-1');
    expect(registry.lastReport('uid-1')).toBeUndefined();
  });

  test('that falls silent is lost', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { registry } = setUp();
      const launcher = new Launcher(registry).say(hello);
      await streamsRest();
      for (let i = 0; i < 4; i++) {
        vi.advanceTimersByTime(39_000);
        launcher.say({ type: 'heartbeat' });
        await streamsRest();
      }
      expect(registry.get('uid-1')).toBeDefined();
      expect(launcher.received.map((message) => message.type)).toEqual(Array(4).fill('heartbeat'));
      vi.advanceTimersByTime(40_000);
      await streamsRest();
      expect(launcher.closed).toBe(true);
      expect(registry.get('uid-1')).toBeUndefined();
    } finally {
      vi.useRealTimers();
    }
  });

  test('that dials again replaces its older connection without being lost', async () => {
    const { registry, told } = setUp();
    const older = new Launcher(registry).say(hello, report('Running'));
    await eventually(() => expect(told).toHaveLength(2));
    const newer = new Launcher(registry).say({ ...hello, restarts: 1 });
    await eventually(() => expect(registry.get('uid-1')?.hello.restarts).toBe(1));
    expect(older.closed).toBe(true);
    expect(registry.get('uid-1')?.report).toEqual({ state: 'Running' });
    expect(registry.size).toBe(1);
    expect(newer.closed).toBe(false);
  });

  test.each([
    ['no JSON', 'what?\n'],
    ['a message that is not agreed', '{"type":"report","report":{"state":"Flying"}}\n'],
    ['a field that is not agreed', '{"type":"heartbeat","podUid":"another"}\n'],
    ['a report before hello', '{"type":"report","report":{"state":"Running"}}\n'],
    ['a line without end', 'x'.repeat(70_000)],
  ])('that sends %s is cut off', async (_, text) => {
    const { registry } = setUp();
    const launcher = new Launcher(registry);
    launcher.raw(text);
    await eventually(() => expect(launcher.closed).toBe(true));
    expect(registry.size).toBe(0);
  });

  test('that talks without end is slowed down, not believed faster', async () => {
    const { registry } = setUp();
    const launcher = new Launcher(registry).say(hello);
    for (let i = 0; i < 400; i++) launcher.say({ type: 'heartbeat' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(launcher.received.length).toBeLessThan(400);
    expect(registry.get('uid-1')).toBeDefined();
  });

  test('that does not read is cut off', async () => {
    const { registry } = setUp({ commandDeadlineMs: 20_000 });
    let closed = false;
    const socket = new Duplex({
      read() {},
      write() {
        // Never done: the other side's window is closed.
      },
    });
    socket.on('close', () => {
      closed = true;
    });
    registry.accept(identity, socket);
    socket.push(`${JSON.stringify(hello)}\n`);
    await eventually(() => expect(registry.get('uid-1')).toBeDefined());
    const results = Array.from({ length: 400 }, (_, i) =>
      registry.send('uid-1', 'pause', `${i}`.padEnd(1000)).catch((error: Error) => error.name),
    );
    await eventually(() => expect(closed).toBe(true));
    expect(new Set(await Promise.all(results))).toEqual(new Set(['NotConnectedError']));
  });
});

describe('a command', () => {
  test('has the result that the launcher gives', async () => {
    const { registry, told } = setUp();
    const launcher = new Launcher(registry).say(hello);
    await eventually(() => expect(told).toHaveLength(1));
    const good = registry.send('uid-1', 'pause', 'op-1');
    const bad = registry.send('uid-1', 'reset', 'op-2');
    await eventually(() => expect(launcher.received).toHaveLength(2));
    expect(launcher.received[0]).toEqual({ type: 'command', id: 'op-1', name: 'pause' });
    launcher.say(
      { type: 'result', id: 'op-2', error: { code: 'QmpFailed', message: 'no' } },
      { type: 'result', id: 'op-1' },
    );
    expect(await good).toEqual({});
    expect(await bad).toEqual({ error: { code: 'QmpFailed', message: 'no' } });
  });

  test('is news when it is answered, also too late, and stays known when the launcher dials again', async () => {
    const { registry, told } = setUp({ commandDeadlineMs: 20 });
    const launcher = new Launcher(registry).say(hello, report('Running'));
    await eventually(() => expect(told).toHaveLength(2));
    await expect(registry.send('uid-1', 'pause', 'op')).rejects.toThrow('did not answer');
    expect(registry.lastReport('uid-1')?.results).toEqual(new Map());
    launcher.say(report('Paused'), { type: 'result', id: 'op' }, { type: 'result', id: 'never asked' });
    await eventually(() => expect(told).toHaveLength(4));
    const again = new Launcher(registry).say(hello);
    await eventually(() => expect(told).toHaveLength(5));
    expect(again.closed).toBe(false);
    expect(registry.lastReport('uid-1')).toMatchObject({ report: { state: 'Paused' } });
    expect(registry.lastReport('uid-1')?.results).toEqual(new Map([['op', {}]]));
  });

  test('to a launcher that is not there, is lost, or does not answer, fails', async () => {
    const { registry, told } = setUp({ commandDeadlineMs: 80 });
    await expect(registry.send('uid-1', 'pause', 'a')).rejects.toThrow('the launcher is not connected');
    const launcher = new Launcher(registry).say(hello);
    await eventually(() => expect(told).toHaveLength(1));
    await expect(registry.send('uid-1', 'pause', 'b')).rejects.toThrow(
      'did not answer "pause" within 0.08 s',
    );
    const lost = registry.send('uid-1', 'pause', 'c');
    launcher.hangUp();
    await expect(lost).rejects.toThrow('the launcher was lost: closed by the launcher');
  });

  test('of another launcher cannot be answered', async () => {
    const { registry, told } = setUp({ commandDeadlineMs: 200 });
    new Launcher(registry).say(hello);
    const liar = new Launcher(registry, { ...identity, podUid: 'uid-2' }).say(hello);
    await eventually(() => expect(told).toHaveLength(2));
    const result = registry.send('uid-1', 'pause', 'op');
    liar.say({ type: 'result', id: 'op' });
    await expect(result).rejects.toThrow('did not answer');
  });

  test('disowned: the launcher is told why, and the line is closed', async () => {
    const { registry, told } = setUp();
    const launcher = new Launcher(registry).say(hello);
    await eventually(() => expect(told).toHaveLength(1));
    expect(registry.disown('uid-1', 'the VM is gone')).toBe(true);
    await eventually(() =>
      expect(launcher.received).toEqual([{ type: 'disowned', reason: 'the VM is gone' }]),
    );
    expect(registry.get('uid-1')).toBeUndefined();
    expect(registry.disown('uid-9', 'x')).toBe(false);
  });
});
