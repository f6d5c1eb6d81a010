/** The cluster that a command speaks to: as kubectl finds it. */
import type { KubeConfig } from '@kubernetes/client-node';
import { VmsteadError } from '../crds/errors.ts';
import { createClient, type KubeClient } from '../operator/kube/client.ts';
import { type ApiError, isNotFound } from '../operator/kube/errors.ts';
import { connectionOf, loadKubeconfig } from '../operator/kube/kubeconfig.ts';
import { createTransport, type Transport } from '../operator/kube/transport.ts';
import { type StoredVirtualMachine, virtualmachines } from '../operator/virtual-machine/resources.ts';
import packageJson from '../package.json' with { type: 'json' };
import type { OptionValues } from './options.ts';

export const CLI_VERSION = packageJson.version;
/** Also the field manager of what the command writes. */
export const CLI_NAME = 'kubectl-vm';

export interface Cluster {
  readonly client: KubeClient;
  readonly transport: Transport;
  readonly namespace: string;
  readonly kubeconfig: KubeConfig;
}

/** @throws VmsteadError `KubeconfigUnusable` */
export async function connect(options: OptionValues): Promise<Cluster> {
  let kubeconfig: KubeConfig;
  try {
    kubeconfig = loadKubeconfig(options.kubeconfig, options.context);
  } catch (error) {
    throw new VmsteadError('KubeconfigUnusable', unusable(error as NodeJS.ErrnoException), { cause: error });
  }
  const server = kubeconfig.getCurrentCluster()?.server;
  // client-node's stand-in for a kubeconfig that is not there.
  if (server === undefined || server === 'http://localhost:8080') {
    throw new VmsteadError(
      'KubeconfigUnusable',
      'there is no kubeconfig with a current context; set KUBECONFIG or give --kubeconfig and --context',
    );
  }
  const connection = await connectionOf(kubeconfig, options.kubeconfig);
  const transport = createTransport(connection, { userAgent: `${CLI_NAME}/${CLI_VERSION}` });
  const context = kubeconfig.getContextObject(kubeconfig.getCurrentContext());
  return {
    client: createClient(transport),
    transport,
    namespace: options.namespace ?? context?.namespace ?? 'default',
    kubeconfig,
  };
}

function unusable({ code, path, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return `there is no kubeconfig ${path}; set KUBECONFIG or give --kubeconfig`;
  return code === undefined ? message : `the kubeconfig cannot be read: ${message}`;
}

/** @throws VmsteadError `VmNotFound` */
export async function getVm({ client, namespace }: Cluster, name: string): Promise<StoredVirtualMachine> {
  try {
    return await client.get(virtualmachines, { namespace, name });
  } catch (error) {
    // Without Vmstead the path itself is not found, and the answer names no object.
    if (!isNotFound(error) || (error as ApiError).details?.name === undefined) throw error;
    throw new VmsteadError(
      'VmNotFound',
      `there is no VM ${name} in namespace ${namespace}; choose another with -n, kubectl get vm -A lists them`,
      { cause: error },
    );
  }
}
