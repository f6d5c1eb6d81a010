/** The release's operator as tests drive it: who leads, where its process is, what it did. */
import { open, stat } from 'node:fs/promises';
import { leases, type Pod, pods } from '../../../operator/kube/resources.ts';
import { releaseNamespace } from '../../../setup/deploy.ts';
import type { NodeHandle } from '../../cluster/provider.ts';
import type { Bed } from './bed.ts';
import { poll } from './poll.ts';

/** The name of the pod that leads; empty when nobody does. */
export async function leader(bed: Bed): Promise<string> {
  const lease = await bed.client.get(leases, { namespace: releaseNamespace, name: 'vmstead-operator' });
  return lease.spec?.holderIdentity?.split('_')[0] ?? '';
}

/** Waits until another replica than `former` leads. */
export async function nextLeader(bed: Bed, former: string): Promise<string> {
  return await poll('another leader', async () => {
    const now = await leader(bed);
    return now !== '' && now !== former && now;
  });
}

export async function operatorPod(bed: Bed, name: string): Promise<Pod> {
  return await bed.client.get(pods, { namespace: releaseNamespace, name });
}

/** The first process of a container, on its node. */
export interface ContainerProcess {
  node: NodeHandle;
  pid: number;
  /** A command in the container's network namespace, with the node's programs; throws what it said when it fails. */
  inNetwork(command: string): Promise<string>;
  signal(name: 'STOP' | 'CONT'): Promise<void>;
}

export async function operatorProcess(bed: Bed, podName: string): Promise<ContainerProcess> {
  const node = bed.cluster.node((await operatorPod(bed, podName)).spec?.nodeName ?? '');
  const must = async (command: string): Promise<string> => {
    const { stdout, stderr, exitCode } = await node.exec(command);
    if (exitCode !== 0) throw new Error(`${command} on ${node.name}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const pid = Number(
    await must(
      `grep -lzx 'POD_NAME=${podName}' /proc/[0-9]*/environ 2> /dev/null | cut -d / -f 3 | sort -n | head -1`,
    ),
  );
  if (!(pid > 0)) throw new Error(`no process of ${podName} on ${node.name}`);
  return {
    node,
    pid,
    inNetwork: (command) => must(`nsenter --net --target ${pid} ${command}`),
    signal: async (name) => {
      await must(`kill -${name} ${pid}`);
    },
  };
}

/** A request of an operator, from the audit log. */
interface Request {
  pod: string;
  verb: string;
  resource: string;
  name: string;
  code: number;
  at: number;
}

const WRITES = new Set(['create', 'update', 'patch', 'delete']);

/** What the audit log says from now on. */
export async function auditFromNow(bed: Bed) {
  const path = bed.cluster.auditLogPath;
  if (path === undefined) throw new Error('this cluster has no audit log that tests can read');
  const from = (await stat(path)).size;
  const requests = async (): Promise<Request[]> => {
    const { size } = await stat(path);
    // Rotated meanwhile: what is there is all new.
    const start = size < from ? 0 : from;
    await using file = await open(path);
    const bytes = Buffer.alloc(size - start);
    await file.read(bytes, 0, bytes.length, start);
    const lines = bytes.toString().split('\n');
    return lines.flatMap((line) => {
      if (!line.includes('vmstead-operator')) return [];
      const { user, verb, objectRef, responseStatus, requestReceivedTimestamp } = JSON.parse(line);
      const pod = user?.extra?.['authentication.kubernetes.io/pod-name']?.[0] ?? '';
      const resource = [objectRef?.resource, objectRef?.subresource].filter(Boolean).join('/');
      const name = objectRef?.name ?? '';
      return [
        { pod, verb, resource, name, code: responseStatus?.code, at: Date.parse(requestReceivedTimestamp) },
      ];
    });
  };
  return {
    /** What a pod of the operator wrote, successfully or not. */
    writesOf: async (pod: string) =>
      (await requests()).filter((each) => each.pod === pod && WRITES.has(each.verb)),
    /** Watches that a pod of the operator began. */
    watchesOf: async (pod: string) =>
      (await requests()).filter((each) => each.pod === pod && each.verb === 'watch'),
  };
}
