import type { Step } from './step.ts';

/** Shows a person how far the set-up is. */
export interface Reporter {
  begin(): void;
  started(step: Step): void;
  progress(step: Step, fraction: number | undefined, note?: string): void;
  done(step: Step): void;
  failed(step: Step): void;
  end(): void;
}

interface Running {
  step: Step;
  since: number;
  fraction: number | undefined;
  note: string;
}

/** `7 s`, `1 min 05 s`. */
export function elapsed(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

/** `[#####-----]  50%`; a step that cannot tell gets a bar that only moves. */
export function bar(fraction: number | undefined, milliseconds: number, width = 20): string {
  if (fraction === undefined) {
    const position = Math.floor(milliseconds / 200) % width;
    return `[${'-'.repeat(position)}#${'-'.repeat(width - position - 1)}]     `;
  }
  const part = Math.min(Math.max(fraction, 0), 1);
  const full = Math.floor(part * width);
  return `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${String(Math.floor(part * 100)).padStart(3)}%`;
}

/** What both reporters keep: the running steps and when they began. */
function book(
  now: () => number,
): Map<string, Running> & { open(step: Step): void; note: Reporter['progress'] } {
  const running = new Map<string, Running>();
  return Object.assign(running, {
    open: (step: Step) => {
      running.set(step.name, { step, since: now(), fraction: undefined, note: '' });
    },
    note: (step: Step, fraction: number | undefined, note = '') => {
      const entry = running.get(step.name);
      if (entry) Object.assign(entry, { fraction, note });
    },
  });
}

/** For a log file or CI: a line when a step begins and ends, and every ten seconds in between. */
export function lineReporter(write: (text: string) => void, now: () => number = Date.now): Reporter {
  const running = book(now);
  let timer: NodeJS.Timeout | undefined;
  const close = (step: Step, word: string): void => {
    const since = running.get(step.name)?.since ?? now();
    running.delete(step.name);
    write(`${step.title}: ${word} (${elapsed(now() - since)})\n`);
  };
  return {
    begin() {
      timer = setInterval(() => {
        for (const { step, since, fraction, note } of running.values()) {
          const part = fraction === undefined ? '' : ` ${Math.floor(fraction * 100)}%`;
          write(`${step.title}: still at it${part}${note ? ` ${note}` : ''} (${elapsed(now() - since)})\n`);
        }
      }, 10_000);
      timer.unref();
    },
    started(step) {
      running.open(step);
      write(`${step.title} …\n`);
    },
    progress: running.note,
    done: (step) => close(step, 'done'),
    failed: (step) => close(step, 'failed'),
    end: () => clearInterval(timer),
  };
}

/** For a terminal: one moving line for each running step, finished ones above. */
export function terminalReporter(
  write: (text: string) => void,
  columns: () => number,
  now: () => number = Date.now,
): Reporter {
  const running = book(now);
  let timer: NodeJS.Timeout | undefined;
  let drawn = 0;
  const erase = (): void => {
    if (drawn > 0) write(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
  };
  const draw = (): void => {
    erase();
    for (const { step, since, fraction, note } of running.values()) {
      const time = now() - since;
      const line = `  ${bar(fraction, time)} ${step.title} (${elapsed(time)})${note ? ` ${note}` : ''}`;
      write(`${line.slice(0, Math.max(columns() - 1, 20))}\n`);
      drawn++;
    }
  };
  const close = (step: Step, mark: string): void => {
    const since = running.get(step.name)?.since ?? now();
    running.delete(step.name);
    erase();
    write(`${mark} ${step.title} (${elapsed(now() - since)})\n`);
    draw();
  };
  return {
    begin() {
      timer = setInterval(draw, 200);
      timer.unref();
    },
    started(step) {
      running.open(step);
      draw();
    },
    progress: running.note,
    done: (step) => close(step, '✓'),
    failed: (step) => close(step, '✗'),
    end() {
      clearInterval(timer);
      erase();
    },
  };
}

/** The reporter that fits where the output goes. */
export function reporterFor(stream: NodeJS.WriteStream): Reporter {
  const write = (text: string): void => {
    stream.write(text);
  };
  return stream.isTTY ? terminalReporter(write, () => stream.columns ?? 80) : lineReporter(write);
}
