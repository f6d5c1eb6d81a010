import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A certificate and its key, as paths of PEM files. */
export interface KeyPair {
  certificate: string;
  key: string;
}

/** A certificate authority in a folder, good for a test cluster's life: made by the `openssl` command. */
export interface Authority {
  certificate: string;
  /** Signs a certificate for client and server use; `name` becomes the file names, `subject` is like `/O=system:masters/CN=admin`. */
  issue(name: string, subject: string, alternativeNames?: string[]): Promise<KeyPair>;
  /** A key pair (PEM files) for signing service-account tokens. */
  serviceAccountKey(): Promise<{ publicKey: string; privateKey: string }>;
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650'];

/** Makes a new authority in `directory`. */
export async function createAuthority(directory: string): Promise<Authority> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const certificate = join(directory, 'ca.crt');
  const key = join(directory, 'ca.key');
  await run('openssl', [
    ...['req', '-x509', ...newKey, '-subj', '/CN=vmstead-test-ca', '-keyout', key, '-out', certificate],
    ...['-addext', 'keyUsage=critical,digitalSignature,keyCertSign,cRLSign'],
  ]);
  return {
    certificate,
    async issue(name, subject, alternativeNames = []) {
      const pair = { certificate: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) };
      const extensions = [
        'basicConstraints=critical,CA:false',
        'keyUsage=critical,digitalSignature',
        'extendedKeyUsage=clientAuth,serverAuth',
      ];
      if (alternativeNames.length > 0) extensions.push(`subjectAltName=${alternativeNames.join(',')}`);
      await run('openssl', [
        ...['req', '-x509', ...newKey, '-CA', certificate, '-CAkey', key, '-subj', subject],
        ...['-keyout', pair.key, '-out', pair.certificate],
        ...extensions.flatMap((extension) => ['-addext', extension]),
      ]);
      return pair;
    },
    async serviceAccountKey() {
      const privateKey = join(directory, 'sa.key');
      const publicKey = join(directory, 'sa.pub');
      await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', privateKey]);
      await run('openssl', ['ec', '-in', privateKey, '-pubout', '-out', publicKey]);
      return { publicKey, privateKey };
    },
  };
}
