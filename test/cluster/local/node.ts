import type { ContainerRuntimeClient } from 'testcontainers';
import type { ExecResult, NodeHandle } from '../provider.ts';

/** What runit does for each action. A stop is "stay down" and SIGKILL: kube-apiserver would take half a minute to end. */
const verbs = {
  stop: ['down', 'kill'],
  start: ['start'],
  kill: ['kill'],
  pause: ['pause'],
  continue: ['cont'],
} as const;

/**
 * A script that lists the loop devices of this machine's files in some folders: `major:minor inode /dev/loopN`, where
 * the first two are the file's. Loop devices belong to the kernel that all machines share, and outlive each of them.
 */
export const listLoops = (folders: string): string => `
  find ${folders} '(' -type f -o -type b ')' -exec stat --format '%Hd:%Ld %i' {} + > /tmp/ours
  losetup --list --noheadings --raw --output BACK-MAJ:MIN,BACK-INO,NAME |
    awk 'NR == FNR { ours[$0]; next } ($1 " " $2) in ours' /tmp/ours -`;

/** A node that is a container of the local Docker engine. */
export function containerNode(
  client: ContainerRuntimeClient,
  name: string,
  containerId: string,
  ip: string,
): NodeHandle {
  const container = client.container.getById(containerId);
  const exec = async (command: string | string[]): Promise<ExecResult> => {
    const words = typeof command === 'string' ? ['/bin/bash', '-c', command] : command;
    const { stdout, stderr, exitCode } = await client.container.exec(container, words, { log: false });
    return { stdout, stderr, exitCode };
  };
  return {
    name,
    ip,
    exec,
    async stop() {
      // What the kubelet holds block volumes with is lost in a reboot: the entrypoint sees to it. A frozen node cannot
      // tell what it has.
      await exec(`(${listLoops('/dev')}) > /var/lib/loops`).catch(() => {});
      await container.kill();
      await container.wait();
    },
    start: async () => {
      await container.start();
    },
    pause: async () => {
      await container.pause();
    },
    unpause: async () => {
      await container.unpause();
    },
    async service(service, action) {
      const directory = `/run/services/${service}`;
      const commands = verbs[action].map((verb) => `sv ${verb} ${directory}`);
      if (action === 'stop')
        commands.push(`until sv status ${directory} | grep -q ^down; do sleep 0.05; done`);
      const result = await exec(`timeout 15 bash -ec '${commands.join('; ')}'`);
      if (result.exitCode !== 0) {
        throw new Error(`${action} of ${service} on ${name}: ${(result.stdout + result.stderr).trim()}`);
      }
    },
  };
}
