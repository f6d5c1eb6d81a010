import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Exporters } from './channel/exporters.ts';
import type { MoverRegistry } from './channel/movers.ts';
import type { LauncherRegistry } from './channel/registry.ts';
import type { OperatorConfig } from './config.ts';
import type { Cache, CacheOptions } from './kube/cache.ts';
import type { KubeClient } from './kube/client.ts';
import type { EventRecorder } from './kube/events.ts';
import type { KubeMetrics } from './kube/metrics.ts';
import type { KubeObject } from './kube/object.ts';
import type { Pod, Resource } from './kube/resources.ts';

/** What a launcher is told about the channel, by its machine description. */
export interface ChannelEndpoint {
  /** `host:port`, to be tried in this order. */
  readonly addresses: readonly string[];
  /** Name in the server's certificate. */
  readonly serverName: string;
  /** PEM of the authority to trust. */
  readonly caCertificate: string;
}

/** What controllers are built on. */
export interface OperatorDeps {
  readonly config: OperatorConfig;
  /** Refuses writes once this process may not be the leader any more. */
  readonly client: KubeClient;
  /**
   * Makes a cache; all of them are started after all controllers are made, and controllers run when all are
   * synced. Limited to the watched namespace where there is one, unless the resource is cluster-scoped.
   */
  cache<T extends KubeObject>(
    resource: Resource<T>,
    options?: Omit<CacheOptions<T>, 'log' | 'metrics' | 'namespace'>,
  ): Cache<T>;
  /** Launcher pods (label `vmstead.io/vm`) of all VMs, with the indexes `vm` (`namespace/name`) and `uid`. */
  readonly launcherPods: Cache<Pod>;
  readonly launchers: LauncherRegistry;
  readonly movers: MoverRegistry;
  readonly exporters: Exporters;
  /** Hexadecimal key of the export of an attachment pod, by the pod's UID: the same from every replica. */
  readonly attachmentKey: (podUid: string) => string;
  readonly channel: ChannelEndpoint;
  readonly events: EventRecorder;
  readonly metrics: KubeMetrics;
  /** Where controllers register series of their own. */
  readonly registry: Registry;
  readonly log: Logger;
  /** By the API server's clock, as the times in objects are. */
  readonly now: () => Date;
}
