import { isForbidden } from '../../operator/kube/errors.ts';
import { events, persistentvolumeclaims } from '../../operator/kube/resources.ts';
import {
  type StoredVirtualMachine,
  virtualmachineoperations,
  virtualmachines,
} from '../../operator/virtual-machine/resources.ts';
import { type Cluster, connect, getVm } from '../cluster.ts';
import type { Invocation } from '../invocation.ts';
import { vmName } from '../values.ts';
import { type Material, page } from './page.ts';

export async function describe({ options, names, io }: Invocation): Promise<void> {
  const cluster = await connect(options);
  const given = names.map(vmName);
  const vms =
    given.length > 0
      ? await Promise.all(given.map((name) => getVm(cluster, name)))
      : await cluster.client.list(
          virtualmachines,
          options['all-namespaces'] ? {} : { namespace: cluster.namespace },
        );
  if (vms.length === 0) {
    io.note(
      options['all-namespaces'] ? 'There is no VM.' : `There is no VM in namespace ${cluster.namespace}.`,
    );
  }
  const around = surroundings(cluster);
  for (const [index, vm] of vms.entries()) {
    if (index > 0) io.print('\n---\n');
    for (const line of page(await around(vm))) io.print(line);
  }
}

/** What belongs to a VM; each namespace is asked once. */
function surroundings({ client }: Cluster): (vm: StoredVirtualMachine) => Promise<Material> {
  const inNamespace = async (namespace: string) => {
    const [claims, operationList, eventList] = await Promise.all([
      orForbidden(client.list(persistentvolumeclaims, { namespace })),
      orForbidden(client.list(virtualmachineoperations, { namespace })),
      orForbidden(client.list(events, { namespace })),
    ]);
    return { claims, operationList, eventList };
  };
  const asked = new Map<string, ReturnType<typeof inNamespace>>();
  return async (vm) => {
    const namespace = vm.metadata.namespace ?? '';
    const answer = asked.get(namespace) ?? inNamespace(namespace);
    asked.set(namespace, answer);
    const { claims, operationList, eventList } = await answer;
    const uids = [vm.metadata.uid, vm.status?.launcher?.podUID];
    return {
      vm,
      claims,
      operations: operationList?.filter((each) => each.spec.virtualMachine === vm.metadata.name),
      events: eventList?.filter((event) => uids.includes(event.involvedObject.uid)),
      now: Date.now(),
    };
  };
}

/** `undefined` where the person may not read: the rest of the page is worth showing. */
async function orForbidden<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}
