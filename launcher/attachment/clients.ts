/** Whether a machine is connected: by the kernel's own tables, which need no monitor and no right. */
import { readFileSync } from 'node:fs';
import { ATTACHMENT_PORT } from '../../crds/attachment.ts';

const ESTABLISHED = '01';

/** Connections to the port in one of the kernel's tables, such as the text of /proc/net/tcp. */
export function connectionsIn(table: string, port = ATTACHMENT_PORT): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, address, , state]) => address?.endsWith(local) && state === ESTABLISHED).length;
}

export function isConnected(): boolean {
  return ['/proc/net/tcp', '/proc/net/tcp6'].some((path) => {
    try {
      return connectionsIn(readFileSync(path, 'utf8')) > 0;
    } catch {
      // Without IPv6 there is no table of it.
      return false;
    }
  });
}
