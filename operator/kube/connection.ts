import { readFileSync } from 'node:fs';

/** How to reach an API server, and how to say who we are. */
export interface Connection {
  /** `https://host:port`, without a path. */
  readonly url: string;
  /** PEM; absent: the system's roots. */
  readonly ca?: string | Buffer | undefined;
  /** PEM of a client certificate and its key. */
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  /** Name in the server's certificate, where it is not the URL's host. */
  readonly serverName?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** Value of the `Authorization` header, asked for with each request: cheap, it caches. */
  readonly authorization?: () => string | undefined | Promise<string | undefined>;
  /** The server refused what `authorization` gave: forget what is cached. */
  readonly refused?: () => void;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** As client-go: the kubelet renews projected tokens well before they end, so a minute of age never hurts. */
const TOKEN_AGE_MS = 60_000;

/** Reads a token file again when what was read is a minute old. */
function tokenFile(path: string): Required<Pick<Connection, 'authorization' | 'refused'>> {
  let token = '';
  let readAt = Number.NEGATIVE_INFINITY;
  return {
    authorization: () => {
      const now = performance.now();
      if (now - readAt > TOKEN_AGE_MS) {
        token = `Bearer ${readFileSync(path, 'utf8').trim()}`;
        readAt = now;
      }
      return token;
    },
    refused: () => {
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}

/** The connection of a pod to its own cluster; throws when the process does not run in a pod. */
export function inCluster(env = process.env, directory = SERVICE_ACCOUNT): Connection {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT;
  if (!host || !port) {
    throw new Error('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is not a pod');
  }
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: readFileSync(`${directory}/ca.crt`),
    ...tokenFile(`${directory}/token`),
  };
}
