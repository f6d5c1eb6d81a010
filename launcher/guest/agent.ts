/** Watches the guest agent: whether it answers, and what it says of the guest. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentClient } from './agent-client.ts';
import { addressesByMac, agentVersion, osName } from './facts.ts';

export interface AgentFacts {
  connected: boolean;
  version?: string;
  osName?: string;
  /** By MAC in lower case. */
  addresses: ReadonlyMap<string, string[]>;
}

export const NO_AGENT: AgentFacts = { connected: false, addresses: new Map() };

/** A guest has one to answer in; under emulation that takes its time. */
const ANSWER_TIMEOUT = 5000;
/** Between two questions while the agent has not answered yet, and when it has. */
const ASK_INTERVAL = { first: 1000, later: 30_000 };

interface AgentWatch {
  /** Whether the guest has the port open: without that there is nobody to ask. */
  setOpen(open: boolean): void;
  /** The connection for one task at a time; undefined where the port is closed. */
  lend<T>(task: (client: AgentClient | undefined) => Promise<T>): Promise<T>;
  end(): void;
}

/** Asks the agent for as long as its port is open, and calls `onFacts` with each answer that differs. */
export function watchAgent(path: string, onFacts: (facts: AgentFacts) => void): AgentWatch {
  let open = false;
  let ended = false;
  let asking = false;
  let client: AgentClient | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const lend = async <T>(task: (client: AgentClient | undefined) => Promise<T>): Promise<T> => {
    const before = turn;
    const mine = before.catch(() => {}).then(() => task(client));
    turn = mine.catch(() => {});
    return await mine;
  };
  let last = '';
  const tell = (facts: AgentFacts) => {
    const text = JSON.stringify([facts, [...facts.addresses]]);
    if (text === last) return;
    last = text;
    onFacts(facts);
  };
  const watch = async () => {
    if (asking) return;
    asking = true;
    client = new AgentClient(path);
    while (open && !ended) {
      const facts = await lend((agent) => (agent === undefined ? Promise.resolve(NO_AGENT) : ask(agent)));
      if (open && !ended) tell(facts);
      const interval = facts.connected ? ASK_INTERVAL.later : ASK_INTERVAL.first;
      for (let waited = 0; waited < interval && open && !ended; waited += 1000) {
        await sleep(1000, undefined, { ref: false });
      }
    }
    client.end();
    client = undefined;
    asking = false;
    if (!ended) tell(NO_AGENT);
  };
  return {
    lend,
    setOpen(now) {
      open = now;
      if (now) void watch();
    },
    end() {
      ended = true;
    },
  };
}

async function ask(client: AgentClient): Promise<AgentFacts> {
  if (!(await client.sync(ANSWER_TIMEOUT))) return NO_AGENT;
  const info = await client.call('guest-info', undefined, ANSWER_TIMEOUT);
  if (info === undefined) return NO_AGENT;
  const interfaces = await client.call('guest-network-get-interfaces', undefined, ANSWER_TIMEOUT);
  const os = await client.call('guest-get-osinfo', undefined, ANSWER_TIMEOUT);
  const version = agentVersion(info);
  const name = osName(os);
  return {
    connected: true,
    ...(version === undefined ? {} : { version }),
    ...(name === undefined ? {} : { osName: name }),
    addresses: addressesByMac(interfaces),
  };
}
