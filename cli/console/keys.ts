/** Ctrl-]: as telnet's, and virsh's; no key that a guest's programs usually want. */
const LEAVE = 0x1d;

/** The part of what was typed that goes to the guest, and whether the person then leaves. */
export function splitAtLeave(typed: Uint8Array): { send: Uint8Array; leave: boolean } {
  const at = typed.indexOf(LEAVE);
  return at < 0 ? { send: typed, leave: false } : { send: typed.subarray(0, at), leave: true };
}
