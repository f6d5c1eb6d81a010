/** One resource offered to the kubelet: a number of slots that all stand for the same device node. */
import { watch } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import type { Http2Server } from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { callGrpc } from '../grpc/client.ts';
import { serveGrpc } from '../grpc/server.ts';
import type { Log } from '../log.ts';
import {
  allocateRequest,
  allocateResponse,
  type Device,
  type DeviceNode,
  deviceList,
  METHOD,
  registerRequest,
} from './messages.ts';

const KUBELET_SOCKET = 'kubelet.sock';
/** Milliseconds. */
const REGISTER_TIMEOUT = 5_000;
const RETRY_FIRST = 200;
const RETRY_LAST = 10_000;
/** How long a kubelet that took the registration may take to watch the devices. */
const WATCH_DEADLINE = 5_000;

export interface PluginOptions {
  /** The kubelet's folder of plugin sockets, `/var/lib/kubelet/device-plugins`. */
  directory: string;
  /** File name of our socket there. */
  socket: string;
  /** Such as `vmstead.io/kvm`. */
  resource: string;
  slots: number;
  node: DeviceNode;
  log: Log;
}

/** What identifies a socket file: a kubelet that starts again makes a new one of the same name. */
async function identity(path: string): Promise<string | undefined> {
  try {
    const { ino, birthtimeMs } = await stat(path);
    return `${ino}/${birthtimeMs}`;
  } catch {
    return undefined;
  }
}

export class DevicePlugin {
  readonly #options: PluginOptions;
  readonly #watchers = new Set<() => void>();
  #healthy = true;
  #registered = false;
  #registrations = 0;
  #registeredAt = 0;

  constructor(options: PluginOptions) {
    this.#options = options;
  }

  /** Whether the running kubelet knows the plugin. */
  get registered(): boolean {
    return this.#registered;
  }

  /** Times that a kubelet took the plugin's registration. */
  get registrations(): number {
    return this.#registrations;
  }

  /** Tells the kubelet whether new pods may get the device; running ones keep it. */
  setHealthy(healthy: boolean): void {
    if (healthy === this.#healthy) return;
    this.#healthy = healthy;
    for (const send of this.#watchers) send();
  }

  #devices(): Device[] {
    const { slots } = this.#options;
    return Array.from({ length: slots }, (_, index) => ({ id: String(index), healthy: this.#healthy }));
  }

  /** The kubelet has ended its watch, and with it what it knew of the devices. */
  #forgotten(): boolean {
    return this.#watchers.size === 0 && performance.now() - this.#registeredAt > WATCH_DEADLINE;
  }

  async #serve(): Promise<Http2Server> {
    const { directory, socket, node, log, resource } = this.#options;
    const path = join(directory, socket);
    await rm(path, { force: true });
    return await serveGrpc(
      path,
      {
        unary: {
          [METHOD.options]: () => new Uint8Array(),
          [METHOD.allocate]: (request) => allocateResponse(allocateRequest(request).length, node),
        },
        stream: {
          [METHOD.listAndWatch]: (_request, send, closed) => {
            const update = () => send(deviceList(this.#devices()));
            this.#watchers.add(update);
            closed.addEventListener('abort', () => this.#watchers.delete(update));
            update();
          },
        },
      },
      (method, error) => log.warn('device plugin call failed', { resource, method, error: String(error) }),
    );
  }

  /**
   * Serves the resource and keeps it registered, whatever the kubelet does, until the signal is aborted. A
   * kubelet that starts empties its folder of plugins, ours included, and expects them to come again.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { directory, socket, resource, log } = this.#options;
    const kubelet = join(directory, KUBELET_SOCKET);
    let server: Http2Server | undefined;
    let known: string | undefined;
    let retry = RETRY_FIRST;
    let wake = () => {};
    // The watch makes it quick; the look every few seconds makes it sure.
    using watcher = watchKubelet(directory, () => wake());
    void watcher;
    while (!signal.aborted) {
      const current = await identity(kubelet);
      const ours = await identity(join(directory, socket));
      if (current === undefined) {
        this.#registered = false;
        known = undefined;
      } else if (current !== known || !ours || this.#forgotten()) {
        try {
          this.#registered = false;
          if (!server || !ours) {
            server?.close();
            server = await this.#serve();
          }
          await callGrpc(kubelet, METHOD.register, registerRequest(socket, resource), REGISTER_TIMEOUT);
          known = current;
          this.#registered = true;
          this.#registrations++;
          this.#registeredAt = performance.now();
          retry = RETRY_FIRST;
          log.info('registered with the kubelet', { resource, slots: this.#options.slots });
        } catch (error) {
          known = undefined;
          retry = Math.min(retry * 2, RETRY_LAST);
          log.warn('the kubelet did not take the registration; trying again', {
            resource,
            error: error instanceof Error ? error.message : String(error),
            retryMs: retry,
          });
        }
      }
      const woken = new AbortController();
      wake = () => woken.abort();
      const pause = known === undefined ? retry : RETRY_LAST;
      await sleep(pause, undefined, { signal: AbortSignal.any([signal, woken.signal]) }).catch(() => {});
    }
    this.#registered = false;
    server?.close();
    await rm(join(directory, socket), { force: true });
  }
}

/**
 * Calls back when the kubelet's socket comes or goes; not for our own, whose making would wake us for ever while
 * the kubelet is away. Without inotify (too many watches on the node) nothing is watched.
 */
function watchKubelet(directory: string, onChange: () => void): Disposable {
  try {
    const watcher = watch(directory, (_event, name) => {
      if (name === KUBELET_SOCKET) onChange();
    });
    watcher.on('error', () => watcher.close());
    return { [Symbol.dispose]: () => watcher.close() };
  } catch {
    return { [Symbol.dispose]: () => {} };
  }
}
