/** `node launcher.cjs console`: the other end of the viewers' socket, for `kubectl exec`. Bytes, nothing else. */
import { connect } from 'node:net';

/** A launcher that was killed is back within a second. */
const PATIENCE = 5000;
const RETRY_INTERVAL = 100;

export function runConsole(path: string): void {
  let lastSeen = Date.now();
  const dial = () => {
    const socket = connect(path);
    const write = (chunk: Buffer) => socket.write(chunk);
    let connected = false;
    socket.on('connect', () => {
      connected = true;
      process.stdin.on('data', write);
    });
    socket.on('data', (chunk) => process.stdout.write(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      process.stdin.off('data', write);
      if (connected) lastSeen = Date.now();
      if (Date.now() - lastSeen > PATIENCE) process.exit(1);
      setTimeout(dial, RETRY_INTERVAL);
    });
  };
  process.stdin.on('end', () => process.exit(0));
  process.stdout.on('error', () => process.exit(0));
  dial();
}
