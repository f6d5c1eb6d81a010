/**
 * Follows a file that QEMU appends to, at no cost while nothing is written, and frees what was read: the file
 * keeps its length, so that places in it stay valid, but not its blocks.
 */
import { spawn } from 'node:child_process';
import { closeSync, type FSWatcher, fstatSync, openSync, readSync, truncateSync, watch } from 'node:fs';

/** Milliseconds between looks while the guest writes; it writes byte by byte, and each would wake us. */
const LOOK_INTERVAL = 40;
/** Milliseconds between looks where the kernel cannot wake us. */
const UNWATCHED_INTERVAL = 1_000;
/** Looks without anything new after which we wait to be woken. */
const IDLE_LOOKS = 5;
const CHUNK = 64 * 1024;

interface TailOptions {
  path: string;
  /** Where an earlier launcher stopped. */
  offset: number;
  /** Bytes after which what was read is freed. */
  limit: number;
  /** Called with the bytes and the place after them. The buffer is only good during the call. */
  onData: (data: Buffer, offset: number) => void;
}

export class FileTail {
  private readonly options: TailOptions;
  private readonly file: number;
  private readonly buffer = Buffer.allocUnsafe(CHUNK);
  private offset: number;
  private freed: number;
  private timer: NodeJS.Timeout | undefined;
  private watcher: Disposable | undefined;

  /** Creates the file if it is not there yet. */
  constructor(options: TailOptions) {
    this.options = options;
    this.file = openSync(options.path, 'a+', 0o600);
    this.offset = Math.min(options.offset, fstatSync(this.file).size);
    this.freed = this.offset;
    this.look(0);
  }

  /** Reads what is still there, and stops. */
  end(): void {
    clearTimeout(this.timer);
    this.watcher?.[Symbol.dispose]();
    this.read();
    closeSync(this.file);
  }

  private look(idle: number): void {
    const found = this.read();
    const nowIdle = found ? 0 : idle + 1;
    if (nowIdle <= IDLE_LOOKS) {
      this.timer = setTimeout(() => this.look(nowIdle), LOOK_INTERVAL);
      this.timer.unref();
    } else {
      this.sleep();
    }
  }

  private sleep(): void {
    let watcher: FSWatcher;
    try {
      watcher = watch(this.options.path, { persistent: false }, () => {
        watcher.close();
        if (this.watcher === undefined) return;
        this.watcher = undefined;
        this.timer = setTimeout(() => this.look(0), LOOK_INTERVAL);
        this.timer.unref();
      });
    } catch {
      // All launchers of a node share one user's inotify instances, 128 on many nodes: without one, look now and then.
      this.timer = setTimeout(() => this.look(IDLE_LOOKS), UNWATCHED_INTERVAL);
      this.timer.unref();
      return;
    }
    this.watcher = { [Symbol.dispose]: () => watcher.close() };
    // What came between the last look and the watch.
    if (this.read()) {
      watcher.close();
      this.watcher = undefined;
      this.look(0);
    }
  }

  private read(): boolean {
    let found = false;
    for (;;) {
      const bytes = readSync(this.file, this.buffer, 0, CHUNK, this.offset);
      if (bytes === 0) break;
      found = true;
      this.offset += bytes;
      this.options.onData(this.buffer.subarray(0, bytes), this.offset);
    }
    if (this.offset - this.freed > this.options.limit) this.free();
    return found;
  }

  private free(): void {
    const length = this.offset;
    this.freed = length;
    const child = spawn(
      'fallocate',
      ['--punch-hole', '--offset', '0', '--length', String(length), this.options.path],
      {
        stdio: 'ignore',
      },
    );
    const failed = () => this.startOver();
    child.once('error', failed);
    child.once('exit', (code) => {
      if (code !== 0) failed();
    });
  }

  /** Where no holes can be made the file is emptied; what QEMU writes at that very moment is lost. */
  private startOver(): void {
    this.read();
    truncateSync(this.options.path, 0);
    this.offset = 0;
    this.freed = 0;
  }
}
