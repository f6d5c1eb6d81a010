import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, testClusterProvider } from '../cluster/index.ts';
import { pauseImage } from '../cluster/local/definition.ts';
import { createBlockVolume, createSharedVolume, staticStorageClass } from '../cluster/volumes.ts';
import { claim, PlainNamespace, pod } from './support/plain-pods.ts';

/** The cluster itself: what every other test of this folder stands on. */
const namespace = 'cluster-test';
let cluster: Cluster;

let space: PlainNamespace;

const run = (args: string[]): Promise<string> => space.run(args);
const apply = (...items: object[]): Promise<string> => space.apply(...items);
const ready = (name: string): Promise<string> => space.ready(name);

beforeAll(async () => {
  cluster = await testClusterProvider().ensure();
  space = await PlainNamespace.open(cluster, namespace);
});

afterAll(async () => {
  await space.close();
});

describe('two-node cluster', () => {
  it('has two schedulable nodes, and nothing else', () => {
    expect(cluster.nodes.map((node) => node.name)).toEqual(['worker-1', 'worker-2']);
  });

  it('carries traffic between pods on different nodes, by address and by service name', async () => {
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    };
    const command = [
      'sh',
      '-c',
      'mkdir /tmp; echo hello > /tmp/index.html; busybox httpd -f -p 8080 -h /tmp',
    ];
    await apply(service, pod('web', { node: 'worker-1', command }), pod('client', { node: 'worker-2' }));
    await Promise.all([ready('web'), ready('client')]);
    const address = await run(['get', 'pod', 'web', '--output', 'jsonpath={.status.podIP}']);
    const fetch = (url: string): Promise<string> =>
      run(['exec', 'client', '--', 'busybox', 'wget', '-qO-', url]);
    // A container that runs need not listen yet.
    for (const url of [`http://${address}:8080/`, 'http://web/']) {
      await expect.poll(() => fetch(url).catch(String), { timeout: 60_000 }).toBe('hello\n');
    }
  });

  it('has no way out', async () => {
    for (const node of cluster.nodes) {
      expect((await node.exec('ip route show default')).stdout).toBe('');
    }
  });

  it('makes a volume where the pod goes, and mounts an OCI image', async () => {
    const volumes = [
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'image', image: { reference: pauseImage, pullPolicy: 'IfNotPresent' } },
    ];
    const container = {
      volumeMounts: [
        { name: 'data', mountPath: '/data' },
        { name: 'image', mountPath: '/image' },
      ],
    };
    await apply(claim('data', {}), pod('volumes', { node: 'worker-2', volumes, container }));
    await ready('volumes');
    expect(await run(['exec', 'volumes', '--', 'busybox', 'ls', '/image'])).toBe('pause\n');
    await run(['exec', 'volumes', '--', 'sh', '-c', 'echo kept > /data/file']);
  });

  it('gives a pod a block device, owned as each runtime does it', async () => {
    const seen: Record<string, string> = {};
    for (const node of cluster.nodes) {
      const name = `block-${node.name}`;
      await using volume = await createBlockVolume(cluster, node, name, 8);
      const spec = { storageClassName: staticStorageClass, volumeName: volume.name, volumeMode: 'Block' };
      const container = {
        securityContext: { runAsUser: 107, runAsGroup: 107 },
        volumeDevices: [{ name: 'disk', devicePath: '/disk' }],
      };
      const volumes = [{ name: 'disk', persistentVolumeClaim: { claimName: name } }];
      await apply(claim(name, spec), pod(name, { node: node.name, volumes, container }));
      await ready(name);
      seen[node.name] = (await run(['exec', name, '--', 'busybox', 'stat', '-c', '%F %u', '/disk'])).trim();
      await run(['delete', `pod/${name}`, `pvc/${name}`]);
    }
    expect(seen).toEqual({ 'worker-1': 'block special file 107', 'worker-2': 'block special file 0' });
  });

  it('shares files between nodes, with locks that hold everywhere or only on one node', async () => {
    const holds = async (path: string): Promise<boolean> => {
      const [one, two] = cluster.nodes;
      const held = `/tmp/held-${Date.now()}`;
      await one!.exec(
        `touch ${path}/lock; (flock --exclusive 9; touch ${held}; sleep 100) 9< ${path}/lock > /dev/null 2>&1 & until [ -e ${held} ]; do sleep 0.1; done; rm ${held}`,
      );
      return (await two!.exec(`flock --nonblock --exclusive ${path}/lock true`)).exitCode !== 0;
    };
    await using shared = await createSharedVolume(cluster, 'shared-one', 8);
    await using split = await createSharedVolume(cluster, 'shared-each', 8, 'each-node');
    expect(await holds(`/var/lib/shared/${shared.name}`)).toBe(true);
    expect(await holds(`/var/lib/shared-fuse/${split.name}`)).toBe(false);
    await cluster.nodes[0]!.exec('pkill -x sleep || true');
  });

  it('reboots a node: volumes and images stay, pods start again, the boot ID is another', async () => {
    const bootId = (): Promise<string> =>
      run(['get', 'node', 'worker-2', '--output', 'jsonpath={.status.nodeInfo.bootID}']);
    const before = await bootId();
    const node = cluster.node('worker-2');
    await node.stop();
    await node.start();
    await expect
      .poll(() => bootId().catch(() => before), { timeout: 90_000, interval: 500 })
      .not.toBe(before);
    const file = (): Promise<string> =>
      run(['exec', 'volumes', '--', 'busybox', 'cat', '/data/file']).catch(String);
    await expect.poll(file, { timeout: 90_000, interval: 500 }).toBe('kept\n');
  });

  it('goes on after its API server was away, and after containerd was killed', async () => {
    await cluster.controlPlane!.service('kube-apiserver', 'stop');
    await expect(run(['get', 'nodes', '--request-timeout=2s'])).rejects.toThrow();
    await cluster.controlPlane!.service('kube-apiserver', 'start');
    await cluster.node('worker-1').service('containerd', 'kill');
    const answer = (): Promise<string> =>
      run(['exec', 'client', '--', 'busybox', 'echo', 'back']).catch(String);
    await expect.poll(answer, { timeout: 90_000, interval: 500 }).toBe('back\n');
    await sleep(1000);
    expect(
      await run(['get', 'pod', 'web', '--output', 'jsonpath={.status.containerStatuses[0].restartCount}']),
    ).toBe('0');
  });

  it('freezes a node and wakes it up again', async () => {
    const node = cluster.node('worker-1');
    await node.pause();
    const frozen = await Promise.race([
      node.exec('true').then(
        () => 'answered',
        () => 'refused',
      ),
      sleep(1000, 'silent'),
    ]);
    await node.unpause();
    expect(frozen).not.toBe('answered');
    expect((await node.exec('true')).exitCode).toBe(0);
  });

  it('writes who asked for what into the audit log', async () => {
    const lines = (await readFile(cluster.auditLogPath!, 'utf8')).trimEnd().split('\n');
    const event = JSON.parse(lines.find((line) => line.includes(`/namespaces/${namespace}/pods`)) ?? '{}');
    expect(event).toMatchObject({ level: 'Metadata', userAgent: expect.stringContaining('kubectl') });
  });
});
