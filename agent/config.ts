import { isLogLevel, type LogLevel } from './log.ts';

export interface Config {
  nodeName: string;
  logLevel: LogLevel;
  /** Port of /metrics and /healthz. */
  port: number;
  /** VMs with KVM that a node may run at once. */
  slots: number;
  /** A KVM below this counts as absent. */
  minimumInstructionsPerSecond: number;
  /** Seconds between two proofs. */
  proofInterval: number;
  /** The kubelet's folder of plugin sockets. */
  pluginDirectory: string;
  /** The agent's own folder on the node: its device node, and the prover's word. */
  stateDirectory: string;
}

type Environment = Record<string, string | undefined>;

function integer(env: Environment, name: string, fallback: number, least: number): number {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new Error(`${name} is "${text}": it must be a whole number of at least ${least}`);
  }
  return value;
}

/** The node's own threshold, where the chart's `agent.kvm.minimumByNode` names one. */
function minimumOf(env: Environment, nodeName: string, fallback: number): number {
  const name = 'VMSTEAD_KVM_MINIMUM_BY_NODE';
  let nodes: unknown;
  try {
    nodes = JSON.parse(env[name] || '{}');
  } catch (error) {
    throw new Error(`${name} is no JSON: ${(error as Error).message}`);
  }
  const value = (nodes as Record<string, unknown>)[nodeName];
  if (value === undefined) return fallback;
  return integer({ [name]: String(value) }, name, fallback, 0);
}

/** @throws Error that names the variable and what it must be */
export function readConfig(env: Environment): Config {
  const nodeName = env.NODE_NAME;
  if (!nodeName) throw new Error('NODE_NAME is not set: the chart sets it from spec.nodeName');
  const logLevel = env.VMSTEAD_LOG_LEVEL ?? 'info';
  if (!isLogLevel(logLevel)) {
    throw new Error(`VMSTEAD_LOG_LEVEL is "${logLevel}": it must be debug, info, warn or error`);
  }
  return {
    nodeName,
    logLevel,
    port: integer(env, 'VMSTEAD_PORT', 9096, 1),
    slots: integer(env, 'VMSTEAD_KVM_SLOTS', 1000, 1),
    minimumInstructionsPerSecond: minimumOf(
      env,
      nodeName,
      integer(env, 'VMSTEAD_KVM_MINIMUM', 400_000_000, 0),
    ),
    proofInterval: integer(env, 'VMSTEAD_PROOF_INTERVAL', 600, 1),
    pluginDirectory: env.VMSTEAD_PLUGIN_DIRECTORY ?? '/var/lib/kubelet/device-plugins',
    stateDirectory: env.VMSTEAD_STATE_DIRECTORY ?? '/var/lib/vmstead',
  };
}
