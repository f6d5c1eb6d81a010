import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import type { KubeClient } from '../kube/client.ts';
import { isAlreadyExists, isConflict, orNotFound } from '../kube/errors.ts';
import type { ObjectRef } from '../kube/object.ts';
import { type Secret, secrets } from '../kube/resources.ts';
import { issueAuthority, issueServer, type KeyPair } from './x509.ts';

const DAY_MS = 86_400_000;
/** Launchers are given the authority's certificate for their whole life, so it outlives them. */
const AUTHORITY_DAYS = 3650;
const SERVER_DAYS = 365;
/** A server certificate with less left is replaced. */
const RENEW_DAYS = 60;
/** Clocks of nodes may be behind ours. */
const BACKDATE_MS = DAY_MS;

/** What the channel's server needs, all PEM. */
export interface ChannelCertificate extends KeyPair {
  /** Goes into every machine description: a launcher trusts this and nothing else. */
  readonly authority: string;
  /** What keys of attachments are made from; it stays for as long as the authority does. */
  readonly attachmentSecret: string;
}

export interface CertificateOptions {
  readonly client: KubeClient;
  /** The Secret, in the operator's own namespace: the only one it may touch. */
  readonly secret: ObjectRef & { readonly namespace: string };
  /** DNS names of the Service; the first is the one that launchers check. */
  readonly dnsNames: readonly string[];
  readonly log: Logger;
  readonly now?: () => Date;
}

/**
 * The channel's certificate from its Secret; issues what is missing, damaged or soon at its end and stores it.
 * Safe when several operators do this at once: the one whose write comes second takes what the first wrote.
 */
export async function ensureCertificate(options: CertificateOptions): Promise<ChannelCertificate> {
  const { client, secret: ref, dnsNames, log } = options;
  const now = (options.now ?? (() => new Date()))();
  for (;;) {
    const secret = await orNotFound(client.get(secrets, ref));
    const authority = usableAuthority(secret, now);
    const server = authority && usableServer(secret, authority, dnsNames, now);
    if (authority && server)
      return { authority: authority.certificate, attachmentSecret: authority.key, ...server };

    const next = renew(authority, dnsNames, now);
    const data = {
      'ca.crt': next.authority.certificate,
      'ca.key': next.authority.key,
      'tls.crt': next.server.certificate,
      'tls.key': next.server.key,
    };
    const draft = {
      metadata: secret?.metadata ?? ref,
      type: 'Opaque',
      data: Object.fromEntries(
        Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
      ),
    };
    try {
      if (secret === undefined) await client.create(secrets, draft);
      else await client.replace(secrets, draft);
      log.info(
        { secret: ref.name, newAuthority: authority === undefined },
        'channel: issued a certificate for the launchers to trust',
      );
      const { certificate, key } = next.authority;
      return { authority: certificate, attachmentSecret: key, ...next.server };
    } catch (error) {
      if (!isConflict(error) && !isAlreadyExists(error)) throw error;
    }
  }
}

function renew(known: KeyPair | undefined, dnsNames: readonly string[], now: Date) {
  const notBefore = new Date(now.getTime() - BACKDATE_MS);
  const after = (days: number) => new Date(now.getTime() + days * DAY_MS);
  const authority =
    known ?? issueAuthority('vmstead-channel', { notBefore, notAfter: after(AUTHORITY_DAYS) });
  return { authority, server: issueServer(authority, dnsNames, { notBefore, notAfter: after(SERVER_DAYS) }) };
}

function pairOf(secret: Secret | undefined, name: 'ca' | 'tls'): KeyPair | undefined {
  const text = (key: string) => Buffer.from(secret?.data?.[key] ?? '', 'base64').toString('utf8');
  const pair = { certificate: text(`${name}.crt`), key: text(`${name}.key`) };
  return pair.certificate && pair.key ? pair : undefined;
}

function usableAuthority(secret: Secret | undefined, now: Date): KeyPair | undefined {
  const pair = pairOf(secret, 'ca');
  // Kept to its very end: launchers that run trust no other, and a new one cuts them off.
  return pair && isGood(pair, now, 0, (certificate) => certificate.ca) ? pair : undefined;
}

function usableServer(
  secret: Secret | undefined,
  authority: KeyPair,
  dnsNames: readonly string[],
  now: Date,
): KeyPair | undefined {
  const pair = pairOf(secret, 'tls');
  const issuer = new X509Certificate(authority.certificate);
  const good = (certificate: X509Certificate) =>
    certificate.verify(issuer.publicKey) &&
    dnsNames.every((name) => certificate.checkHost(name) !== undefined);
  return pair && isGood(pair, now, RENEW_DAYS, good) ? pair : undefined;
}

function isGood(
  pair: KeyPair,
  now: Date,
  daysLeft: number,
  check: (certificate: X509Certificate) => boolean,
): boolean {
  try {
    const certificate = new X509Certificate(pair.certificate);
    const left = certificate.validToDate.getTime() - now.getTime();
    return (
      left > daysLeft * DAY_MS &&
      certificate.checkPrivateKey(createPrivateKey(pair.key)) &&
      check(certificate)
    );
  } catch {
    // Damaged by hand: as good as missing.
    return false;
  }
}
