/** Keys under which attachment pods export: never stored, so that they are in no object that a tenant may read. */
import { createHmac } from 'node:crypto';

/**
 * Each pod has a key of its own, which the operator hands to it and to the launcher that may use it.
 * @param secret private key of the channel's authority, which only the operator can read
 * @returns 64 hexadecimal digits, the same in every replica and after every restart
 */
export function attachmentKey(secret: string, podUid: string): string {
  return createHmac('sha256', secret).update(`vmstead attachment ${podUid}`).digest('hex');
}
