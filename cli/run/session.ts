/** The guest's console in this terminal, from QEMU's start to its end. */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending } from '../../launcher/vm/ending.ts';
import { stop } from '../../launcher/vm/stop.ts';
import type { Vm } from '../../launcher/vm/vm.ts';
import { splitAtLeave } from '../console/keys.ts';
import { takeTerminal } from '../console/terminal.ts';

/** Ctrl-], a signal: once for a clean shutdown, twice for an end at once. */
function leaver(vm: Vm, note: (message: string) => void): () => void {
  let times = 0;
  return () => {
    times++;
    if (times === 1) {
      note('shutting the guest down; Ctrl-] again ends it at once');
      void stop(vm);
    } else {
      void vm.quit({ result: 'StoppedForced', message: 'ended without waiting for the guest' });
    }
  };
}

/** Runs until QEMU is gone. Only here do the guest's bytes reach the terminal as they are. */
export async function consoleSession(
  vm: Vm,
  console: string,
  note: (message: string) => void,
): Promise<Ending> {
  const leave = leaver(vm, note);
  using _terminal = takeTerminal(leave);
  let guest: Socket | undefined;
  let ended = false;
  const end = vm.ended.then((ending) => {
    ended = true;
    return ending;
  });
  const typed = (bytes: Buffer) => {
    const { send, leave: left } = splitAtLeave(bytes);
    if (send.length > 0) guest?.write(send);
    if (left) leave();
  };
  process.stdin.on('data', typed);
  while (!ended) {
    guest = connect(console);
    guest.on('data', (chunk) => process.stdout.write(chunk));
    guest.on('error', () => {});
    await new Promise<void>((resolve) => guest?.once('close', () => resolve()));
    await sleep(5);
  }
  process.stdin.off('data', typed);
  process.stdin.pause();
  return await end;
}
