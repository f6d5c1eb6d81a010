import { readFile } from 'node:fs/promises';
import { request } from 'node:https';

/** What the API server answered, or undefined when it could not be asked (yet). */
export interface Answer {
  status: number;
  body: string;
}

/** Asks the API server that a JSON kubeconfig names; a failed connection is `undefined`, not an error. */
export async function apiGet(kubeconfigPath: string, path: string): Promise<Answer | undefined> {
  const config = JSON.parse(await readFile(kubeconfigPath, 'utf8'));
  const { server, 'certificate-authority-data': ca } = config.clusters[0].cluster;
  const { 'client-certificate-data': cert, 'client-key-data': key } = config.users[0].user;
  const decode = (data: string): Buffer => Buffer.from(data, 'base64');
  return new Promise((resolve) => {
    const call = request(
      new URL(path, server),
      { ca: decode(ca), cert: decode(cert), key: decode(key), agent: false },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.on('error', () => resolve(undefined));
      },
    );
    call.on('error', () => resolve(undefined));
    call.setTimeout(3000, () => call.destroy(new Error('timeout')));
    call.end();
  });
}
