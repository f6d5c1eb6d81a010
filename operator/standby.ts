/** What a replica has before it leads, and hands over to what only the leader does. */
import type { Logger } from 'pino';
import type { OperatorConfig } from './config.ts';
import { createClient, type KubeClient } from './kube/client.ts';
import type { Leadership } from './kube/leader.ts';
import type { Transport } from './kube/transport.ts';
import type { OperatorMetrics } from './metrics.ts';

export interface Standby {
  readonly config: OperatorConfig;
  readonly client: LeadersClient;
  readonly metrics: OperatorMetrics;
  readonly log: Logger;
  /** By the API server's clock, as the times in objects are. */
  readonly now: () => Date;
  /** Called when the leader does all its work. */
  readonly leading: (state: 'ready') => void;
}

/** Refuses writes when another replica may lead; a type of its own, so that nothing leads with any other client. */
export interface LeadersClient extends KubeClient {
  /** Throws where this replica may not write (any more). */
  readonly mayWrite: () => void;
}

export function leadersClient(transport: Transport, leadership: Pick<Leadership, 'holds'>): LeadersClient {
  const mayWrite = (): void => {
    if (!leadership.holds()) throw new Error('this replica does not lead any more: nothing is written');
  };
  return { ...createClient(transport, { mayWrite }), mayWrite };
}
