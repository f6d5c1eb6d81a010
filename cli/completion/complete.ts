/**
 * `kubectl vm __complete WORD...`: the candidates in the form that kubectl's completion reads (one a line,
 * a tab and a text behind it, then `:4` for "no file names" or `:0` for "file names").
 */
import type { KubeObject } from '../../operator/kube/object.ts';
import { define } from '../../operator/kube/resources.ts';
import { virtualmachines } from '../../operator/virtual-machine/resources.ts';
import { connect } from '../cluster.ts';
import type { Io } from '../io.ts';
import { type Choice, choose, optionValue } from './candidates.ts';

const namespaces = define<KubeObject>('v1', 'Namespace', 'namespaces', 'Cluster');

export async function complete(words: readonly string[], io: Io): Promise<void> {
  const choice = choose(words);
  if (choice.from === 'words') {
    for (const { word, text } of choice.candidates) io.print(text === undefined ? word : `${word}\t${text}`);
  } else if (choice.from !== 'files') {
    for (const name of await namesOf(choice.from, words)) {
      if (name.startsWith(choice.prefix)) io.print(name);
    }
  }
  io.print(choice.from === 'files' ? ':0' : ':4');
}

/** Asked of the cluster; a completion stays silent when that fails. */
async function namesOf(from: Exclude<Choice['from'], 'words' | 'files'>, words: readonly string[]) {
  const given = (option: 'namespace' | 'context' | 'kubeconfig') => {
    const value = optionValue(words, option);
    return value === undefined ? {} : { [option]: value };
  };
  try {
    const cluster = await connect({ ...given('namespace'), ...given('context'), ...given('kubeconfig') });
    if (from === 'contexts') return cluster.kubeconfig.contexts.map((context) => context.name);
    const list =
      from === 'vms'
        ? await cluster.client.list(virtualmachines, { namespace: cluster.namespace, deadlineMs: 5000 })
        : await cluster.client.list(namespaces, { deadlineMs: 5000 });
    return list.map((object) => object.metadata.name);
  } catch {
    return [];
  }
}
