/** Names by which the audit log tells requests apart. */

/** How the API server's audit log knows us. */
export const USER_AGENT = 'vmstead-bench';
/** Where the chart's pods are: setup/deploy.ts, and the agent's of helm/values.yaml. */
export const RELEASE_NAMESPACES = ['vmstead-system', 'vmstead-agent'] as const;
