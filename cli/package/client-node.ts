/** Leaves out of a bundle what client-node loads and these commands never use: its generated API calls. */
import type { Plugin } from 'esbuild';

/** Names that client-node's own files import from them. Used, each says that it is not there. */
const LEFT_OUT: Record<string, readonly string[]> = {
  undici: ['Agent', 'ProxyAgent'],
  './gen/index.js': ['createConfiguration', 'ServerConfiguration', 'AppsV1Api', 'CoreV1Api'],
};

/**
 * Of client-node the kubeconfig, exec and port-forward are used, over our own transport. With undici and the generated code
 * the bundle would be three times as large and start in twice the time.
 */
export const withoutApiCalls: Plugin = {
  name: 'client-node without API calls',
  setup(build) {
    build.onResolve({ filter: /^(undici|\.\/gen\/index\.js)$/ }, ({ path, importer }) =>
      /client-node\/dist\/(config|portforward)\.js$/.test(importer)
        ? { path, namespace: 'left-out' }
        : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: (LEFT_OUT[path] ?? [])
        .map(
          (name) =>
            `export class ${name} { constructor() { throw new Error('${name} of ${path} is not in this bundle'); } }`,
        )
        .join('\n'),
    }));
  },
};
