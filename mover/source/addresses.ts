/**
 * Which addresses an import may connect to. A person who may create an image can make a pod fetch any URL; the
 * answer ends up on a disk that they can read.
 */
import type { LookupAddress } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { MoverFailure } from '../failure.ts';

/** Of the node or the pod itself; among them the clouds' metadata servers. */
const LOCAL = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '::/128', '::1/128', 'fe80::/10'];

/**
 * Whatever is not reached over the public internet, by IANA's special-purpose registries
 * (https://www.iana.org/assignments/iana-ipv4-special-registry). NAT64, 6to4 and Teredo carry IPv4 addresses
 * inside, which may be any of these.
 */
const INTERNAL = [
  ...LOCAL,
  ...['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.0.0.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['224.0.0.0/4', '240.0.0.0/4', 'fc00::/7', 'fec0::/10', 'ff00::/8'],
  ...['64:ff9b::/96', '64:ff9b:1::/48', '2002::/16', '2001::/32', '::/96'],
];

/** Finds all addresses of a name. */
export type Resolve = (name: string) => Promise<LookupAddress[]>;

const resolveBySystem: Resolve = (name) => systemLookup(name, { all: true });

export class AddressGuard {
  private readonly networks = new BlockList();
  private readonly resolve: Resolve;

  constructor(networks: readonly string[], resolve: Resolve = resolveBySystem) {
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.networks.addSubnet(address, Number(prefix), family);
    }
    this.resolve = resolve;
  }

  static forSource(allowPrivate: boolean, more: readonly string[], resolve?: Resolve): AddressGuard {
    return new AddressGuard(allowPrivate ? [] : [...INTERNAL, ...more], resolve);
  }

  /** A proxy is often at a private address, and is asked to CONNECT only: it gives no content away by itself. */
  static forProxy(allowPrivate: boolean, resolve?: Resolve): AddressGuard {
    return new AddressGuard(allowPrivate ? [] : LOCAL, resolve);
  }

  forbids(address: string): boolean {
    return this.networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }

  /**
   * The addresses of a host that may be connected to: to exactly these, as a name may have others a moment later.
   * Throws SourceForbidden when it has forbidden ones only.
   */
  async allowed(host: string): Promise<LookupAddress[]> {
    const literal = host.replace(/^\[(.*)\]$/, '$1');
    const family = isIP(literal);
    const all = family === 0 ? await this.resolve(host) : [{ address: literal, family }];
    const allowed = all.filter(({ address }) => !this.forbids(address));
    if (allowed.length === 0 && all.length > 0) {
      throw new MoverFailure(
        'SourceForbidden',
        `${host} is at the internal address ${all[0]!.address}; set allowPrivateAddresses if that is meant`,
      );
    }
    return allowed;
  }
}

/** For `net.connect`: these addresses, whatever the name resolves to by now. */
export function fixedLookup(addresses: readonly LookupAddress[]): LookupFunction {
  return (_host, options, callback) => {
    const [first] = addresses;
    if (options.all) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
}
