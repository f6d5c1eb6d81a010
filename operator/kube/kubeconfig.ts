import type { RequestOptions } from 'node:https';
// Not the package itself, which loads its generated API calls too.
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import type { Connection } from './connection.ts';

/** Tokens made by exec plugins are asked for again after this long; the plugin's own cache makes that cheap. */
const HEADER_AGE_MS = 60_000;

/**
 * Reads a kubeconfig (what kubectl understands, exec plugins included, but neither a proxy nor impersonation);
 * `context` picks another than the current one.
 */
export async function fromKubeconfig(path?: string, context?: string): Promise<Connection> {
  return connectionOf(loadKubeconfig(path, context), path);
}

/** The kubeconfig itself, for who needs its namespace or client-node's own calls. */
export function loadKubeconfig(path?: string, context?: string): KubeConfig {
  const config = new KubeConfig();
  if (path) config.loadFromFile(path);
  else config.loadFromDefault();
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      throw new Error(
        `context "${context}" is not in ${path ?? 'the kubeconfig'}; it has: ${config.contexts.map((c) => c.name).join(', ')}`,
      );
    }
    config.setCurrentContext(context);
  }
  refuseDetours(config);
  return config;
}

/** What would be left out silently: the requests would take another way, or be another person's. */
function refuseDetours(config: KubeConfig): void {
  const cluster = config.getCurrentCluster();
  if (cluster?.proxyUrl) {
    throw new Error(
      `cluster "${cluster.name}" is reached by a proxy (proxy-url), which is not supported; choose a context that reaches its API server directly`,
    );
  }
  const user = config.getCurrentUser();
  if (user?.impersonateUser) {
    throw new Error(
      `user "${user.name}" acts as "${user.impersonateUser}" (as), which is not supported; choose a context whose user is the person meant`,
    );
  }
}

/** The connection to the current context's cluster; `path` is for messages. */
export async function connectionOf(config: KubeConfig, path?: string): Promise<Connection> {
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new Error(
      `${path ?? 'the kubeconfig'} names no cluster: set KUBECONFIG to a file with a current context`,
    );
  }

  let options = await resolve(config);
  let readAt = performance.now();
  return {
    url: cluster.server.replace(/\/+$/, ''),
    ca: options.ca as Buffer | undefined,
    cert: options.cert as Buffer | undefined,
    key: options.key as Buffer | undefined,
    serverName: cluster.tlsServerName,
    insecureSkipTlsVerify: cluster.skipTLSVerify,
    authorization: async () => {
      if (performance.now() - readAt > HEADER_AGE_MS) {
        options = await resolve(config);
        readAt = performance.now();
      }
      return authorizationOf(options);
    },
    refused: () => {
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}

async function resolve(config: KubeConfig): Promise<RequestOptions> {
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  return options;
}

function authorizationOf({ headers, auth }: RequestOptions): string | undefined {
  if (auth) return `Basic ${Buffer.from(auth).toString('base64')}`;
  const value = (headers as Record<string, string> | undefined)?.Authorization;
  return value;
}
