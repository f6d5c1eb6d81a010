/** What a guest agent said, made safe to pass on: counts capped, text bounded and printable, addresses real ones. */
import { isIP } from 'node:net';

const MOST_INTERFACES = 64;
const MOST_ADDRESSES = 8;
const LONGEST_TEXT = 128;

/** Printable text, or undefined for anything else. */
function safeText(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  const printable = value.slice(0, LONGEST_TEXT).replaceAll(/[^\x20-\x7e\u00a1-\u024f]/gu, '?');
  return printable;
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** Addresses by MAC, from `guest-network-get-interfaces`. Loopback and link-local ones are nobody's business. */
export function addressesByMac(answer: unknown): Map<string, string[]> {
  const found = new Map<string, string[]>();
  if (!Array.isArray(answer)) return found;
  for (const each of answer.slice(0, MOST_INTERFACES)) {
    const mac = field(each, 'hardware-address');
    const list = field(each, 'ip-addresses');
    if (typeof mac !== 'string' || !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac) || !Array.isArray(list))
      continue;
    const addresses = list
      .slice(0, MOST_ADDRESSES * 4)
      .map((entry) => field(entry, 'ip-address'))
      .filter(
        (address) =>
          typeof address === 'string' && isIP(address) !== 0 && !/^(127\.|::1$|fe80:)/i.test(address),
      );
    found.set(mac.toLowerCase(), (addresses as string[]).slice(0, MOST_ADDRESSES));
  }
  return found;
}

export function agentVersion(answer: unknown): string | undefined {
  return safeText(field(answer, 'version'));
}

export function osName(answer: unknown): string | undefined {
  return safeText(field(answer, 'pretty-name'));
}
