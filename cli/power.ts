import type { OperationType } from '../crds/virtual-machine-operation.ts';
import { isForbidden } from '../operator/kube/errors.ts';
import { type Cluster, connect, getVm } from './cluster.ts';
import { explain } from './explain.ts';
import type { Invocation } from './invocation.ts';
import { createOperation, waitForOperation } from './operation.ts';
import { parseDuration, vmName } from './values.ts';

/** As long as a guest usually has to power itself off (120 s), and a new pod to come up, with room. */
const DEFAULT_TIMEOUT = '5m';

/** `start`, `stop` and so on: one operation for each VM named, side by side. */
export async function power(type: OperationType, { options, names, io }: Invocation): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const vms = [...new Set(names.map(vmName))];
  const cluster = await connect(options);

  const one = async (vm: string): Promise<void> => {
    await mustExist(cluster, vm);
    const operation = await createOperation(cluster, vm, type, options.force ?? false);
    if (options['no-wait']) {
      io.print(`virtualmachineoperation.vmstead.io/${operation.metadata.name} created`);
      return;
    }
    let said = '';
    const ended = await waitForOperation(cluster, operation, timeoutMs, ({ status }) => {
      if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return;
      const message = status?.message ?? '';
      if (message !== '' && message !== said) io.note(`${vm}: ${message}`);
      said = message;
    });
    io.print(`${type} of ${vm}: ${ended.status?.message ?? 'done'}`);
  };

  const [only] = vms;
  if (vms.length === 1 && only !== undefined) {
    await one(only);
    return;
  }
  const results = await Promise.allSettled(vms.map(one));
  for (const [index, result] of results.entries()) {
    if (result.status === 'fulfilled') continue;
    const { message, exitCode } = explain(result.reason);
    io.note(`kubectl vm: ${vms[index]}: ${message}`);
    process.exitCode = Math.max(Number(process.exitCode ?? 0), exitCode);
  }
}

/** Says at once that a name is wrong. Who may make operations need not be allowed to read VMs. */
async function mustExist(cluster: Cluster, vm: string): Promise<void> {
  try {
    await getVm(cluster, vm);
  } catch (error) {
    if (!isForbidden(error)) throw error;
  }
}
