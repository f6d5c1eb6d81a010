/** Holding a guest's file systems still for a moment, by its agent; they are always let go of again. */
import { VmsteadError } from '../../crds/errors.ts';
import type { Quiesce } from '../../crds/snapshot-order.ts';
import type { AgentClient } from './agent-client.ts';

/** `Refused`: there is an agent, and it did not. */
export type FrozenGuest = 'Yes' | 'No' | 'Refused';

/** Milliseconds that the guest has for the answer to one question. */
const ANSWER = 5000;
/** Linux lets go of a frozen file system by itself never; an agent that was told twice is deaf. */
const THAW_TRIES = 3;
/** Windows' VSS lets go after 10 s: a freeze that takes longer is none. */
const LONGEST_FREEZE = 10_000;

export interface GuestAgent {
  /** Does `task` with the guest frozen where `quiesce` wants it so. Throws what `task` throws, and SnapshotUnusable. */
  whileFrozen(quiesce: Quiesce, deadline: number, task: () => Promise<void>): Promise<FrozenGuest>;
  /** Sets the guest's clock to this machine's. Returns whether the agent did. */
  setTime(): Promise<boolean>;
  /** Lets go of what a launcher before this one may have frozen. */
  thaw(): Promise<void>;
}

/** @param lend gives the one connection to the agent for as long as a task takes; undefined without an agent */
export function guestAgent(
  lend: <T>(task: (client: AgentClient | undefined) => Promise<T>) => Promise<T>,
  remember: (frozen: boolean) => void,
): GuestAgent {
  const freeze = async (client: AgentClient, deadline: number): Promise<boolean> => {
    if (!(await client.sync(ANSWER))) return false;
    remember(true);
    const frozen = await client.call('guest-fsfreeze-freeze', undefined, Math.min(deadline, LONGEST_FREEZE));
    return typeof frozen === 'number' && frozen > 0;
  };
  const thaw = async (client: AgentClient): Promise<void> => {
    for (let tries = 0; tries < THAW_TRIES; tries++) {
      if (!(await client.sync(ANSWER))) continue;
      if (typeof (await client.call('guest-fsfreeze-thaw', undefined, LONGEST_FREEZE)) !== 'number') continue;
      remember(false);
      return;
    }
  };
  return {
    async whileFrozen(quiesce, deadline, task) {
      if (quiesce === 'Never') {
        await task();
        return 'No';
      }
      return await lend(async (client) => {
        if (client === undefined) {
          requireFrozen(quiesce, 'it has no guest agent that answers');
          await task();
          return 'No';
        }
        try {
          const frozen = await freeze(client, deadline);
          if (!frozen) requireFrozen(quiesce, 'its agent did not freeze the file systems in time');
          await task();
          return frozen ? 'Yes' : 'Refused';
        } finally {
          await thaw(client);
        }
      });
    },
    async setTime() {
      return await lend(async (client) => {
        if (client === undefined || !(await client.sync(ANSWER))) return false;
        const time = Date.now() * 1_000_000;
        return (await client.call('guest-set-time', { time }, ANSWER)) !== undefined;
      });
    },
    async thaw() {
      await lend(async (client) => {
        if (client !== undefined) await thaw(client);
      });
    },
  };
}

function requireFrozen(quiesce: Quiesce, why: string): void {
  if (quiesce !== 'Required') return;
  throw new VmsteadError(
    'SnapshotUnusable',
    `the guest's file systems cannot be held still: ${why}; install qemu-guest-agent in it, or take the snapshot with quiesce: Auto`,
  );
}
