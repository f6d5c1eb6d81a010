/** From a prepared disk to the command line of qemu-storage-daemon. Pure. */
import { ATTACHMENT_PORT, ATTACHMENT_USER } from '../../crds/attachment.ts';
import { blockdev, diskNode } from '../machine/disks.ts';
import type { PreparedDisk } from '../machine/host.ts';
import { json } from '../machine/quoting.ts';

/** Name of the file in the folder of a key that both ends of QEMU's TLS-PSK look for. */
export const KEY_FILE = 'keys.psk';

export const keyLine = (key: string): string => `${ATTACHMENT_USER}:${key}\n`;

/**
 * @param name of the export, which a client must know
 * @param paths folder with the key; file that is there once clients can connect
 */
export function storageDaemon(
  disk: PreparedDisk,
  name: string,
  paths: { key: string; pid: string },
): string[] {
  // In the launcher they are QEMU's arguments; qemu-storage-daemon has the same ones with two dashes.
  const nodes = blockdev({ disks: [disk] }).map((word) => (word === '-blockdev' ? '--blockdev' : word));
  return [
    ...['--object', json({ 'qom-type': 'tls-creds-psk', id: 'key', endpoint: 'server', dir: paths.key })],
    ...nodes,
    // An empty host is every address of the pod, of either family.
    ...['--nbd-server', `addr.type=inet,addr.host=,addr.port=${ATTACHMENT_PORT},tls-creds=key`],
    ...[
      '--export',
      json({ type: 'nbd', id: 'disk', 'node-name': diskNode(0), name, writable: !disk.readOnly }),
    ],
    ...['--pidfile', paths.pid],
  ];
}
