/** What the parts below this folder report; `operator/metrics.ts` turns it into Prometheus series. */

export interface ApiMetrics {
  /** One HTTP exchange; `code` is the status code or `<error>`. */
  request(verb: string, resource: string, code: string, seconds: number): void;
}

export interface CacheMetrics {
  /** A watch ended and another is begun; `reason` is `timeout`, `expired`, `silent`, `error` … */
  watchRestart(resource: string, reason: string): void;
  /** A line of a watch that could not be understood. */
  badLine(resource: string): void;
  /** Objects held now. */
  size(resource: string, objects: number): void;
}

export interface QueueMetrics {
  /** Keys that wait now. */
  depth(queue: string, keys: number): void;
  /** Time that a key waited before a worker took it. */
  waited(queue: string, seconds: number): void;
}

export interface ControllerMetrics extends QueueMetrics {
  /** One run of a reconciler; `result` is `done`, `after`, `error` or `terminal`. */
  reconciled(controller: string, result: string, seconds: number): void;
}

export interface KubeMetrics extends ApiMetrics, CacheMetrics, ControllerMetrics {}

/** Reports nothing: for tests and tools. */
export const noMetrics: KubeMetrics = {
  request: () => {},
  watchRestart: () => {},
  badLine: () => {},
  size: () => {},
  depth: () => {},
  waited: () => {},
  reconciled: () => {},
};
