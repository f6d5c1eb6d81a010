import { readFile, writeFile } from 'node:fs/promises';
import type { KeyPair } from './pki.ts';

/** Writes a self-contained kubeconfig (certificates inside, mode 0600). */
export async function writeKubeconfig(
  path: string,
  server: string,
  authorityCertificate: string,
  client: KeyPair,
  name = 'vmstead',
): Promise<void> {
  const base64 = async (file: string): Promise<string> => (await readFile(file)).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name, cluster: { server, 'certificate-authority-data': await base64(authorityCertificate) } },
    ],
    users: [
      {
        name,
        user: {
          'client-certificate-data': await base64(client.certificate),
          'client-key-data': await base64(client.key),
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  await writeFile(path, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}
