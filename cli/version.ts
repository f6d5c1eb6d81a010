import { API_VERSION, GROUP } from '../crds/api.ts';
import { isNotFound } from '../operator/kube/errors.ts';
import { CLI_VERSION, connect } from './cluster.ts';
import type { Invocation } from './invocation.ts';

export async function version({ options, io }: Invocation): Promise<void> {
  io.print(`kubectl-vm  ${CLI_VERSION}`);
  if (options.client) return;
  const { transport } = await connect(options);
  const get = (path: string) => transport.request({ method: 'GET', path, verb: 'get', resource: 'version' });
  const server = (await get('/version')) as { gitVersion: string };
  io.print(`Kubernetes  ${server.gitVersion}`);
  io.print(`Vmstead     ${await served(get)}`);
}

async function served(get: (path: string) => Promise<unknown>): Promise<string> {
  try {
    const group = (await get(`/apis/${GROUP}`)) as { versions: { groupVersion: string }[] };
    return group.versions.map((each) => each.groupVersion).join(', ');
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return `not installed (no ${API_VERSION})`;
  }
}
