import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { runSteps } from './engine.ts';
import { stepsFor } from './order.ts';
import { bar, elapsed, lineReporter, type Reporter, terminalReporter } from './reporter.ts';
import { SetupError, type Step } from './step.ts';

const quiet: Reporter = {
  begin() {},
  started() {},
  progress() {},
  done() {},
  failed() {},
  end() {},
};

/** A step that notes when it begins and ends. */
function step(name: string, needs: string[], events: string[], over: Partial<Step> = {}): Step {
  let done = false;
  return {
    name,
    title: name,
    needs,
    isDone: async () => done,
    async run() {
      events.push(`+${name}`);
      await sleep(20);
      events.push(`-${name}`);
      done = true;
    },
    ...over,
  };
}

describe('stepsFor', () => {
  it('puts each step after those it needs, and leaves out what nobody needs', () => {
    const all = [step('c', ['b'], []), step('b', ['a'], []), step('a', [], []), step('other', [], [])];
    expect(stepsFor(all, ['c']).map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  it('refuses circles and unknown names', () => {
    const all = [step('a', ['b'], []), step('b', ['a'], [])];
    expect(() => stepsFor(all, ['a'])).toThrow('a → b → a');
    expect(() => stepsFor(all, ['x'])).toThrow('there is no set-up step "x"');
  });
});

describe('runSteps', () => {
  it('runs independent steps side by side, and a step after those it needs', async () => {
    const events: string[] = [];
    await runSteps(
      [step('a', [], events), step('b', [], events), step('c', ['a', 'b'], events)],
      ['c'],
      quiet,
    );
    // Which of the two is first is nobody's concern.
    expect(events.slice(0, 2).sort()).toEqual(['+a', '+b']);
    expect(events.slice(4)).toEqual(['+c', '-c']);
  });

  it('runs steps of one lane one after the other', async () => {
    const events: string[] = [];
    const lane = { lane: 'go' };
    await runSteps([step('a', [], events, lane), step('b', [], events, lane)], ['a', 'b'], quiet);
    expect(events).toEqual(['+a', '-a', '+b', '-b']);
  });

  it('does nothing that is done', async () => {
    const events: string[] = [];
    await runSteps([step('a', [], events, { isDone: async () => true })], ['a'], quiet);
    expect(events).toEqual([]);
  });

  it('shows the end of the log of a step that fails, and does not run what needs it', async () => {
    const events: string[] = [];
    const broken = step('broken-step', [], events, {
      run: async (context) => context.run('/bin/sh', ['-c', 'echo the reason; exit 3']),
    });
    const promise = runSteps([broken, step('after', ['broken-step'], events)], ['after'], quiet);
    await expect(promise).rejects.toThrow(/broken-step failed[\s\S]*the reason[\s\S]*ended with 3/);
    expect(events).toEqual([]);
  });

  it('ends what runs beside a step that fails', async () => {
    const slow = step('slow-step', [], [], { run: (context) => context.run('sleep', ['60']) });
    const broken = step('broken-step', [], [], { run: (context) => context.run('false', []) });
    const start = Date.now();
    await expect(runSteps([slow, broken], ['slow-step', 'broken-step'], quiet)).rejects.toThrow(
      'broken-step failed',
    );
    expect(Date.now() - start).toBeLessThan(10_000);
  });

  it('fails a step that does not make what it says', async () => {
    const broken = step('empty-step', [], [], { run: async () => {}, isDone: async () => false });
    await expect(runSteps([broken], ['empty-step'], quiet)).rejects.toThrow('what it makes is not there');
  });

  it('passes on what a person has to do as it is', async () => {
    const error = new SetupError('install this');
    const broken = step('person-step', [], [], {
      run: async () => {
        throw error;
      },
    });
    await expect(runSteps([broken], ['person-step'], quiet)).rejects.toBe(error);
  });
});

describe('reporters', () => {
  it('writes lines without control characters where there is no terminal', () => {
    let text = '';
    let time = 0;
    const reporter = lineReporter(
      (part) => {
        text += part;
      },
      () => time,
    );
    const work = step('work', [], []);
    reporter.started(work);
    time = 65_000;
    reporter.done(work);
    expect(text).toBe('work …\nwork: done (1 min 05 s)\n');
  });

  it('draws a bar for each running step on a terminal, never wider than it', () => {
    let text = '';
    const reporter = terminalReporter(
      (part) => {
        text += part;
      },
      () => 40,
      () => 0,
    );
    reporter.started(step('work', [], []));
    reporter.progress(step('work', [], []), 0.5, 'x'.repeat(100));
    reporter.started(step('other', [], []));
    expect(text).toContain('[##########----------]  50% work');
    expect(
      Math.max(...text.split('\n').map((line) => line.replace('\x1b[1A\x1b[J', '').length)),
    ).toBeLessThan(40);
  });

  it('writes times and bars', () => {
    expect(elapsed(7400)).toBe('7 s');
    expect(elapsed(65_000)).toBe('1 min 05 s');
    expect(bar(2, 0)).toBe('[####################] 100%');
  });
});
