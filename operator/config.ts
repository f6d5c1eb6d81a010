/** What the operator is told by its Deployment. */
export interface OperatorConfig {
  readonly version: string;
  readonly podName: string;
  /** Where the operator itself lives: its Lease, Secret, Service and EndpointSlice. */
  readonly podNamespace: string;
  /** Where launchers reach this very pod. */
  readonly podIP: string;
  /** Image of launcher pods. */
  readonly launcherImage: string;
  /** Address that launchers dial first (the Service's cluster IP), then its DNS name. */
  readonly channelAddresses: readonly string[];
  /** Namespace that is looked after; absent: all of them. */
  readonly watchNamespace: string | undefined;
  readonly channelPort: number;
  /** Port of /metrics, /healthz and /readyz (plain HTTP). */
  readonly httpPort: number;
  readonly logLevel: string;
}

/** Name of the operator's Service, Lease, and field manager. */
export const OPERATOR_NAME = 'vmstead-operator';
/** Secret with the channel's certificates. */
export const CHANNEL_SECRET = 'vmstead-channel';

/** Name in the channel's certificate, and what launchers check. */
export function channelServerName(namespace: string): string {
  return `${OPERATOR_NAME}.${namespace}.svc`;
}

/** Reads the environment; throws one error that names everything that is wrong with it. */
export function configFrom(env: Readonly<Record<string, string | undefined>>): OperatorConfig {
  const problems: string[] = [];
  const required = (name: string): string => {
    const value = env[name];
    if (!value) problems.push(`${name} is not set`);
    return value ?? '';
  };
  const port = (name: string, fallback: number): number => {
    const value = Number(env[name] || fallback);
    if (!Number.isInteger(value) || value < 0 || value > 65535)
      problems.push(`${name} is not a port: ${env[name]}`);
    return value;
  };
  const podNamespace = required('POD_NAMESPACE');
  const channelPort = port('VMSTEAD_CHANNEL_PORT', 8443);
  const clusterIP = serviceAddress(env);
  const config: OperatorConfig = {
    // Written into the bundle when it is made; a variable of the process otherwise.
    version: process.env.VMSTEAD_VERSION ?? 'dev',
    podName: required('POD_NAME'),
    podNamespace,
    podIP: required('POD_IP'),
    launcherImage: required('VMSTEAD_LAUNCHER_IMAGE'),
    channelAddresses: [
      ...(clusterIP ? [`${clusterIP}:${channelPort}`] : []),
      `${channelServerName(podNamespace)}:${channelPort}`,
    ],
    watchNamespace: env.VMSTEAD_WATCH_NAMESPACE || undefined,
    channelPort,
    httpPort: port('VMSTEAD_HTTP_PORT', 8080),
    logLevel: env.VMSTEAD_LOG_LEVEL || 'info',
  };
  if (problems.length > 0) {
    throw new Error(
      `the operator's environment is not complete: ${problems.join('; ')} (the Helm chart sets it)`,
    );
  }
  return config;
}

/** The kubelet tells pods the addresses of their namespace's Services; IPv6 in brackets. */
function serviceAddress(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const host = env.VMSTEAD_OPERATOR_SERVICE_HOST;
  return host?.includes(':') ? `[${host}]` : host;
}
