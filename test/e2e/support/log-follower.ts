/** Keeps what every launcher pod of a namespace says, also after the pod is gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { LABEL } from '../../../crds/api.ts';
import { isNotFound } from '../../../operator/kube/errors.ts';
import { type Pod, pods } from '../../../operator/kube/resources.ts';
import type { Api } from './api.ts';

export class LogFollower implements AsyncDisposable {
  readonly #api: Api;
  readonly #namespace: string;
  readonly #stop = new AbortController();
  /** By pod UID. */
  readonly #logs = new Map<string, { vm: string; incarnation: number; text: string }>();
  readonly #following = new Set<Promise<void>>();
  readonly #loop: Promise<void>;

  constructor(api: Api, namespace: string) {
    this.#api = api;
    this.#namespace = namespace;
    this.#loop = this.#run();
  }

  /** All that a VM's guests said so far, of all its lives in their order, without the launcher's own lines. */
  of(vm: string): string {
    return [...this.#logs.values()]
      .filter((each) => each.vm === vm)
      .sort((a, b) => a.incarnation - b.incarnation)
      .map(({ text }) => guestLines(text))
      .join('\n');
  }

  /** What a pod's guest said so far. */
  ofPod(uid: string): string {
    return guestLines(this.#logs.get(uid)?.text ?? '');
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const list = await this.#api.client
        .list(pods, { namespace: this.#namespace, labelSelector: LABEL.vm })
        .catch(() => []);
      for (const pod of list) {
        const state = pod.status?.containerStatuses?.[0]?.state;
        if (this.#logs.has(pod.metadata.uid) || !(state?.running || state?.terminated)) continue;
        const following = this.#follow(pod).finally(() => this.#following.delete(following));
        this.#following.add(following);
      }
      await sleep(250, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  async #follow(pod: Pod): Promise<void> {
    const { uid, name, labels } = pod.metadata;
    const log = { vm: labels?.[LABEL.vm] ?? '', incarnation: Number(labels?.[LABEL.incarnation]), text: '' };
    this.#logs.set(uid, log);
    for (;;) {
      await this.#read(name, log);
      if (this.#stop.signal.aborted) return;
      const still = await this.#api.client
        .get(pods, { namespace: this.#namespace, name })
        .catch((error) => (isNotFound(error) ? undefined : pod));
      if (still?.metadata.uid !== uid) return;
      if (still.status?.containerStatuses?.[0]?.state?.terminated) {
        await this.#read(name, log);
        return;
      }
      await sleep(250);
    }
  }

  /** Until the log ends or the connection does; each time the server sends all of it again. */
  async #read(name: string, log: { text: string }): Promise<void> {
    try {
      const stream = await this.#api.transport.stream({
        method: 'GET',
        path: `/api/v1/namespaces/${this.#namespace}/pods/${name}/log?follow=true`,
        verb: 'logs',
        resource: 'pods',
        signal: this.#stop.signal,
      });
      let text = '';
      stream.setEncoding('utf8');
      for await (const chunk of stream) {
        text += chunk;
        if (text.length > log.text.length) log.text = text;
      }
    } catch {
      // The connection or the pod is gone: the caller looks which.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await Promise.allSettled(this.#following);
  }
}

/** A launcher's own lines are JSON that begins with its level; all else is the guest's. */
function guestLines(log: string): string {
  return log
    .split('\n')
    .filter((line) => !line.startsWith('{"level"'))
    .join('\n');
}
