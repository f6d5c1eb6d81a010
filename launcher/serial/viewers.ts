/** The guest's console for any number of people at once: QEMU's socket takes one client, and that is us. */
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

/** A viewer that lets so much wait has stopped reading. */
const MOST_WAITING = 1024 * 1024;
const RETRY_INTERVAL = 100;

/** Serves `path`; connects to QEMU's console at `console` for as long as anybody looks. */
export function serveViewers(path: string, console: string): Disposable {
  const viewers = new Set<Socket>();
  let guest: Socket | undefined;

  const connectGuest = () => {
    if (guest !== undefined || viewers.size === 0) return;
    guest = connect(console);
    guest.on('data', (chunk) => {
      for (const viewer of viewers) {
        if (viewer.writableLength > MOST_WAITING) viewer.destroy();
        else viewer.write(chunk);
      }
    });
    guest.on('error', () => {});
    guest.on('close', () => {
      guest = undefined;
      setTimeout(connectGuest, RETRY_INTERVAL).unref();
    });
  };

  const server = createServer((viewer) => {
    viewers.add(viewer);
    viewer.on('data', (chunk) => guest?.write(chunk));
    viewer.on('error', () => {});
    viewer.on('close', () => {
      viewers.delete(viewer);
      if (viewers.size === 0) guest?.destroy();
    });
    connectGuest();
  });
  rmSync(path, { force: true });
  server.listen(path);
  return {
    [Symbol.dispose]() {
      server.close();
      for (const viewer of viewers) viewer.destroy();
    },
  };
}
