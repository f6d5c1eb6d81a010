/** How far an upload is: a bar in a terminal, a line now and then elsewhere. */
import type { Io } from '../io.ts';

const WIDTH = 30;
const REDRAW_MS = 200;
const LINE_EVERY = 10;

export class ProgressBar {
  readonly #total: number;
  readonly #isTerminal = process.stderr.isTTY === true;
  readonly #began = Date.now();
  #from = 0;
  #done = 0;
  #drawn = 0;
  #line = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** So many bytes are there already: of another run, or of a connection that was lost. */
  at(bytes: number): void {
    this.#from += bytes - this.#done;
    this.#done = bytes;
    this.#draw(true);
  }

  add(bytes: number): void {
    this.#done += bytes;
    this.#draw(this.#done === this.#total);
  }

  /** A sentence, on a line of its own. */
  note(io: Io, text: string): void {
    if (this.#isTerminal && this.#drawn > 0) process.stderr.write('\r\u001b[K');
    io.note(text);
  }

  end(): void {
    if (this.#isTerminal && this.#drawn > 0) process.stderr.write('\n');
  }

  #draw(now: boolean): void {
    const percent = Math.floor((this.#done / this.#total) * 100);
    if (this.#isTerminal) {
      if (!now && Date.now() - this.#drawn < REDRAW_MS) return;
      this.#drawn = Date.now();
      process.stderr.write(`\r${barText(this.#done, this.#total, this.#speed(), percent)}\u001b[K`);
    } else if (percent >= this.#line + LINE_EVERY) {
      this.#line = percent - (percent % LINE_EVERY);
      process.stderr.write(`${this.#line}%\n`);
    }
  }

  /** Bytes a second of what this run itself sent. */
  #speed(): number {
    return (this.#done - this.#from) / Math.max(0.1, (Date.now() - this.#began) / 1000);
  }
}

/** Such as `[########----------------------]  27%  1.2 of 4.4 GiB, 55 MiB/s, 60 s left`. */
export function barText(done: number, total: number, speed: number, percent: number): string {
  const filled = Math.round((done / total) * WIDTH);
  const bar = `[${'#'.repeat(filled)}${'-'.repeat(WIDTH - filled)}]`;
  const left = speed > 0 ? `, ${Math.ceil((total - done) / speed)} s left` : '';
  return `${bar} ${String(percent).padStart(3)}%  ${human(done)} of ${human(total)}, ${human(speed)}/s${left}`;
}

function human(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}
