/** How a guest without an agent says that it is up: `READY=1` on the virtio-serial port io.vmstead.guest.0. */
import { connect } from 'node:net';
import { LineSplitter } from '../qmp/lines.ts';

/** What a guest may write on one line of this port. */
const LONGEST_LINE = 1024;
const RETRY_INTERVAL = 200;

/**
 * Calls `onReady` once, when the guest has said so. The guest's words are hostile: anything but the one line
 * is ignored. Returns how to stop listening.
 */
export function listenForReady(path: string, onReady: () => void): Disposable {
  let stopped = false;
  let socket: ReturnType<typeof connect> | undefined;
  const stop = () => {
    stopped = true;
    socket?.destroy();
  };
  const dial = () => {
    if (stopped) return;
    const lines = new LineSplitter(
      LONGEST_LINE,
      (line) => {
        if (line.trim() !== 'READY=1' || stopped) return;
        stop();
        onReady();
      },
      () => {},
    );
    socket = connect(path);
    socket.on('data', (chunk) => lines.push(chunk as Buffer));
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!stopped) setTimeout(dial, RETRY_INTERVAL).unref();
    });
  };
  dial();
  return { [Symbol.dispose]: stop };
}
