import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { expect, test } from 'vitest';
import { issueAuthority, issueServer } from './x509.ts';

const validity = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2056-01-02T03:04:05Z') };

test('an authority is one, for the time given', () => {
  const certificate = new X509Certificate(issueAuthority('vmstead-channel', validity).certificate);
  expect(certificate.ca).toBe(true);
  expect(certificate.subject).toBe('CN=vmstead-channel');
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  // Years from 2050 on are written another way than those before.
  expect(certificate.validFromDate).toEqual(validity.notBefore);
  expect(certificate.validToDate).toEqual(validity.notAfter);
});

test('a server certificate is the authority’s, for its names and for servers only', () => {
  const authority = issueAuthority('vmstead-channel', validity);
  const names = ['vmstead-operator.vmstead-system.svc', 'vmstead-operator.vmstead-system.svc.cluster.local'];
  const certificate = new X509Certificate(issueServer(authority, names, validity).certificate);
  const issuer = new X509Certificate(authority.certificate);
  expect(certificate.checkIssued(issuer)).toBe(true);
  expect(certificate.verify(issuer.publicKey)).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  for (const name of names) expect(certificate.checkHost(name)).toBe(name);
  expect(certificate.checkHost('vmstead-operator.other.svc')).toBeUndefined();
});

test('serial numbers are positive and differ', () => {
  const serials = Array.from(
    { length: 20 },
    () => new X509Certificate(issueAuthority('a', validity).certificate).serialNumber,
  );
  expect(new Set(serials).size).toBe(20);
  for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
});

test('TLS accepts it where its authority is trusted, and only there', async () => {
  const authority = issueAuthority('one', validity);
  const other = issueAuthority('two', validity);
  const { certificate, key } = issueServer(authority, ['operator.test'], validity);
  const server = createServer({ cert: certificate, key, minVersion: 'TLSv1.3' }, (socket) => socket.end());
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dial = async (ca: string, servername: string) => {
    const socket = connect({ port, host: '127.0.0.1', ca, servername });
    try {
      await once(socket, 'secureConnect');
      return 'accepted';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    } finally {
      socket.destroy();
    }
  };
  expect(await dial(authority.certificate, 'operator.test')).toBe('accepted');
  expect(await dial(authority.certificate, 'other.test')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  expect(await dial(other.certificate, 'operator.test')).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  server.close();
});
