import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';

/**
 * Issues X.509 certificates (RFC 5280) on P-256 keys. Node verifies certificates but cannot make them, and the
 * two shapes needed here are some forty lines of DER; the libraries for it bring megabytes of other formats.
 */

/** A certificate with its private key, both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A self-signed authority. */
export function issueAuthority(commonName: string, validity: Validity): KeyPair {
  const { publicKey, privateKey } = newKey();
  const extensions = [
    extension(OID.basicConstraints, sequence(TRUE, integer(Buffer.of(0))), 'critical'),
    // keyCertSign and cRLSign.
    extension(OID.keyUsage, der(0x03, Buffer.of(1, 0x06)), 'critical'),
    extension(OID.subjectKeyIdentifier, der(0x04, keyIdentifier(publicKey))),
  ];
  return build(
    { subject: commonName, issuer: commonName, publicKey, signingKey: privateKey, validity, extensions },
    privateKey,
  );
}

/** A server certificate for DNS names, signed by the authority. */
export function issueServer(authority: KeyPair, dnsNames: readonly string[], validity: Validity): KeyPair {
  const { publicKey, privateKey } = newKey();
  const issuer = new X509Certificate(authority.certificate);
  const extensions = [
    extension(OID.basicConstraints, sequence(), 'critical'),
    // digitalSignature.
    extension(OID.keyUsage, der(0x03, Buffer.of(7, 0x80)), 'critical'),
    extension(OID.extendedKeyUsage, sequence(OID.serverAuth)),
    extension(OID.authorityKeyIdentifier, sequence(der(0x80, keyIdentifier(issuer.publicKey)))),
    extension(OID.subjectAltName, sequence(...dnsNames.map((name) => der(0x82, Buffer.from(name, 'ascii'))))),
  ];
  const subject = dnsNames[0]!.slice(0, 64);
  const signingKey = authority.key;
  return build(
    { subject, issuer: commonNameOf(issuer), publicKey, signingKey, validity, extensions },
    privateKey,
  );
}

interface Body {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject | string;
  readonly validity: Validity;
  readonly extensions: readonly Buffer[];
}

function build(body: Body, privateKey: KeyObject): KeyPair {
  // Positive and 128 bits of chance, as RFC 5280 wants it.
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  const toBeSigned = sequence(
    der(0xa0, integer(Buffer.of(2))),
    integer(serial),
    ECDSA_SHA256,
    name(body.issuer),
    sequence(time(body.validity.notBefore), time(body.validity.notAfter)),
    name(body.subject),
    body.publicKey.export({ format: 'der', type: 'spki' }),
    der(0xa3, sequence(...body.extensions)),
  );
  const signature = sign('sha256', toBeSigned, body.signingKey);
  const certificate = sequence(toBeSigned, ECDSA_SHA256, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
  };
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function commonNameOf(certificate: X509Certificate): string {
  return /(?:^|\n)CN=(.*)/.exec(certificate.subject)?.[1] ?? '';
}

/** RFC 5280 4.2.1.2, method 1: SHA-1 of the public key's bits (the last 65 octets of a P-256 SPKI). */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha1').update(spki.subarray(-65)).digest();
}

function der(tag: number, content: Buffer): Buffer {
  const length = content.length;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}

function sequence(...items: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(items));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

/** Only a common name (2.5.4.3), as UTF8String. */
function name(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '');
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(digits.slice(2), 'ascii'))
    : der(0x18, Buffer.from(digits, 'ascii'));
}

function extension(id: Buffer, value: Buffer, critical?: 'critical'): Buffer {
  return sequence(id, ...(critical ? [TRUE] : []), der(0x04, value));
}

const TRUE = der(0x01, Buffer.of(0xff));
/** 1.2.840.10045.4.3.2 */
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const OID = {
  subjectKeyIdentifier: oid('551d0e'),
  keyUsage: oid('551d0f'),
  subjectAltName: oid('551d11'),
  basicConstraints: oid('551d13'),
  authorityKeyIdentifier: oid('551d23'),
  extendedKeyUsage: oid('551d25'),
  /** 1.3.6.1.5.5.7.3.1 */
  serverAuth: oid('2b06010505070301'),
};
