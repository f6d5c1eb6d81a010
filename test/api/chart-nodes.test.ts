/** What the chart says of a cluster whose nodes cannot mount image volumes. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { chartDirectory, helm } from './support/chart.ts';

let server: ApiServer;
beforeAll(async () => {
  server = await startApiServer();
});
afterAll(() => server?.stop());

async function addNode(
  name: string,
  runtime: string,
  kubelet: string,
  architecture = 'amd64',
): Promise<void> {
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name } };
  await kubectl(server.kubeconfigPath, ['create', '-f', '-'], JSON.stringify(node));
  const nodeInfo = {
    ...{ architecture, operatingSystem: 'linux', containerRuntimeVersion: runtime, kubeletVersion: kubelet },
    ...{ machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: '', kubeProxyVersion: '' },
  };
  const patch = JSON.stringify({ status: { nodeInfo } });
  await kubectl(server.kubeconfigPath, [
    'patch',
    'node',
    name,
    '--subresource=status',
    '--type=merge',
    '-p',
    patch,
  ]);
}
afterEach(async () => {
  await kubectl(server.kubeconfigPath, ['delete', 'nodes', '--all']);
});

const install = (...values: string[]) =>
  helm(
    ...['install', 'vmstead', chartDirectory, '--namespace', 'vmstead-system', '--dry-run=server'],
    ...['--kubeconfig', server.kubeconfigPath],
    ...[...['operator', 'launcher', 'agent'].map((name) => `images.${name}=x`), ...values].flatMap(
      (value) => ['--set', value],
    ),
  );

it.each([
  ['containerd://2.1.0', 'v1.35.0'],
  ['containerd://v2.4.2', 'v1.36.3'],
  ['containerd://2.2.0-rc.1', 'v1.35.0-eks-1a2b3c4'],
  ['containerd://2.1.4-k3s1', 'v1.35.2+k3s1'],
  ['cri-o://1.35.0', 'v1.35.1'],
  // Not ours to judge.
  ['containerd://Unknown', 'v1.36.0'],
  ['youki://0.1', 'v1.36.0'],
])('takes a node with %s and kubelet %s', async (runtime, kubelet) => {
  await addNode('worker-1', runtime, kubelet);
  expect(await install()).not.toContain('WARNING');
});

describe.each([
  ['containerd://2.0.7', 'v1.36.3', 'containerd 2.0.7'],
  ['containerd://1.7.28', 'v1.34.1', 'containerd 1.7.28 and kubelet 1.34.1'],
  ['cri-o://1.30.4', 'v1.35.0', 'cri-o 1.30.4'],
])('a node with %s and kubelet %s', (runtime, kubelet, lacks) => {
  it('alone is refused, in words, unless the check is off', async () => {
    await addNode('old', runtime, kubelet);
    await expect(install()).rejects.toThrow(
      `no node of this cluster can mount image volumes, in which VMs have disks and kernels: old has ${lacks}. They need containerd 2.1 or newer (or CRI-O 1.31) and kubelet 1.35 or newer. Update them, or set checkNodes=false for VMs without images`,
    );
    expect(await install('checkNodes=false')).not.toContain('WARNING');
  });

  it('beside one that is fit is named', async () => {
    await addNode('old', runtime, kubelet);
    await addNode('new', 'containerd://2.4.2', 'v1.36.3');
    await addNode('arm', 'containerd://1.7.0', 'v1.36.3', 'arm64');
    const said = await install();
    expect(said).toContain(`WARNING: VMs with an image`);
    expect(said).toContain(`\n  old has ${lacks}\n`);
    expect(said).not.toContain('arm has');
  });
});

it('says nothing of a cluster without nodes', async () => {
  expect(await install()).not.toContain('WARNING');
});
