import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { KubeMetrics } from './kube/metrics.ts';

/** Seconds; from a request on a warm connection to one that waits for a slow API server. */
const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30];

/** The operator's own series, all under `vmstead_operator_`. */
export class OperatorMetrics implements KubeMetrics {
  readonly registry = new Registry();
  readonly #requests = this.#counter('api_requests_total', 'Requests to the API server.', [
    'verb',
    'resource',
    'code',
  ]);
  readonly #requestSeconds = this.#histogram(
    'api_request_duration_seconds',
    'Time until the head of the API server’s answer.',
    ['verb'],
  );
  readonly #watchRestarts = this.#counter('watch_restarts_total', 'Watches that ended, by what ended them.', [
    'resource',
    'reason',
  ]);
  readonly #badLines = this.#counter('watch_bad_lines_total', 'Lines of watches that could not be read.', [
    'resource',
  ]);
  readonly #objects = this.#gauge('cache_objects', 'Objects held in memory.', ['resource']);
  readonly #depth = this.#gauge('queue_depth', 'Keys that wait for a worker.', ['controller']);
  readonly #waited = this.#histogram('queue_wait_seconds', 'Time that a key waited for a worker.', [
    'controller',
  ]);
  readonly #reconciles = this.#counter('reconciles_total', 'Runs of a reconciler, by result.', [
    'controller',
    'result',
  ]);
  readonly #reconcileSeconds = this.#histogram(
    'reconcile_duration_seconds',
    'Time of one run of a reconciler.',
    ['controller'],
  );
  readonly #leader = this.#gauge('leader', '1 on the replica that leads.', []);

  constructor() {
    const startedAt = Date.now() / 1000 - process.uptime();
    this.#sampled('resident_memory_bytes', 'Resident set size.', () => process.memoryUsage.rss());
    this.#sampled(
      'heap_used_bytes',
      'Bytes of live JavaScript objects and garbage not collected yet.',
      () => process.memoryUsage().heapUsed,
    );
    new Counter({
      ...this.#named('cpu_seconds_total', 'User and system CPU time.'),
      collect() {
        const { user, system } = process.cpuUsage();
        this.reset();
        this.inc((user + system) / 1e6);
      },
    });
    this.#sampled('start_time_seconds', 'Start of the process since the epoch.', () => startedAt);
  }

  /** This replica leads from now on. */
  leads(): void {
    this.#leader.set(1);
  }

  countLaunchers(count: () => number): void {
    this.#sampled('launchers_connected', 'Launchers whose channel is open.', count);
  }

  request(verb: string, resource: string, code: string, seconds: number): void {
    this.#requests.inc({ verb, resource, code });
    this.#requestSeconds.observe({ verb }, seconds);
  }

  watchRestart(resource: string, reason: string): void {
    this.#watchRestarts.inc({ resource, reason });
  }

  badLine(resource: string): void {
    this.#badLines.inc({ resource });
  }

  size(resource: string, objects: number): void {
    this.#objects.set({ resource }, objects);
  }

  depth(controller: string, keys: number): void {
    this.#depth.set({ controller }, keys);
  }

  waited(controller: string, seconds: number): void {
    this.#waited.observe({ controller }, seconds);
  }

  reconciled(controller: string, result: string, seconds: number): void {
    this.#reconciles.inc({ controller, result });
    this.#reconcileSeconds.observe({ controller }, seconds);
  }

  #counter(name: string, help: string, labelNames: string[]) {
    return new Counter({ ...this.#named(name, help), labelNames });
  }

  #gauge(name: string, help: string, labelNames: string[]) {
    return new Gauge({ ...this.#named(name, help), labelNames });
  }

  #histogram(name: string, help: string, labelNames: string[]) {
    return new Histogram({ ...this.#named(name, help), labelNames, buckets: SECONDS });
  }

  /** A value that is read when Prometheus asks. */
  #sampled(name: string, help: string, read: () => number): void {
    new Gauge({
      ...this.#named(name, help),
      collect() {
        this.set(read());
      },
    });
  }

  #named(name: string, help: string) {
    return { name: `vmstead_operator_${name}`, help, registers: [this.registry] };
  }
}
