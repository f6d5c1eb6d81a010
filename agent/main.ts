/**
 * The agent: offers `vmstead.io/kvm` to the kubelet on nodes whose KVM was proved to work. It has no rights in
 * the API and no device of its own; its prover, which has the device, has no rights on the node.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type Config, readConfig } from './config.ts';
import { DevicePlugin } from './device-plugin/plugin.ts';
import { KVM_DEVICE, makeDevice, makeStateDirectory } from './devices.ts';
import type { Verdict } from './kvm/proof.ts';
import { createLog, type Log } from './log.ts';
import { renderMetrics } from './metrics.ts';
import { monitorKvm } from './monitor.ts';

const KVM_RESOURCE = 'vmstead.io/kvm';
/**
 * What the prover asks for: the way to a device in an unprivileged container is the kubelet's. Two, so that a new
 * prover can start before the old one is gone.
 */
const PROOF_RESOURCE = 'vmstead.io/kvm-proof';
const PROOF_SLOTS = 2;

interface Plugins {
  kvm: DevicePlugin;
  proof: DevicePlugin;
}

function createPlugins(config: Config, hostPath: string, log: Log): Plugins {
  const common = {
    directory: config.pluginDirectory,
    node: { hostPath, containerPath: '/dev/kvm', permissions: 'rw' },
    log,
  };
  return {
    kvm: new DevicePlugin({
      ...common,
      socket: 'vmstead-kvm.sock',
      resource: KVM_RESOURCE,
      slots: config.slots,
    }),
    proof: new DevicePlugin({
      ...common,
      socket: 'vmstead-kvm-proof.sock',
      resource: PROOF_RESOURCE,
      slots: PROOF_SLOTS,
    }),
  };
}

function serveStatus(config: Config, plugins: Plugins, verdict: () => Verdict | undefined, log: Log): void {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') {
      // Without a kubelet that knows the plugin the agent waits and tries again: a restart would not help.
      response.writeHead(200).end('ok\n');
    } else if (request.url === '/metrics') {
      const text = renderMetrics({
        usable: verdict()?.usable ?? false,
        instructionsPerSecond: verdict()?.instructionsPerSecond ?? 0,
        minimumInstructionsPerSecond: config.minimumInstructionsPerSecond,
        registered: plugins.proof.registered,
        registrations: plugins.proof.registrations,
        slots: config.slots,
        version: process.env.VMSTEAD_VERSION ?? 'development',
      });
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text);
    } else {
      response.writeHead(404).end();
    }
  });
  server.on('error', (error) =>
    log.error('cannot serve /metrics', { error: error.message, port: config.port }),
  );
  server.listen(config.port);
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = createLog('agent', config.logLevel);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

  const proofDirectory = join(config.stateDirectory, 'proof');
  const device = join(config.stateDirectory, 'devices', 'kvm');
  await makeStateDirectory(config.stateDirectory, proofDirectory);
  await makeDevice(device, KVM_DEVICE);

  const plugins = createPlugins(config, device, log);
  let verdict: Verdict | undefined;
  let offered: Promise<void> | undefined;
  serveStatus(config, plugins, () => verdict, log);
  await Promise.all([
    plugins.proof.run(stop.signal),
    monitorKvm(
      {
        proofPath: join(proofDirectory, 'kvm.json'),
        kernelDevice: '/sys/class/misc/kvm',
        minimumInstructionsPerSecond: config.minimumInstructionsPerSecond,
        proofInterval: config.proofInterval,
        log,
      },
      (now) => {
        verdict = now;
        // A node that never proved its KVM does not list the resource at all; one that lost it lists none free.
        plugins.kvm.setHealthy(now.usable);
        if (now.usable) offered ??= plugins.kvm.run(stop.signal);
      },
      stop.signal,
    ),
  ]);
  await offered;
  process.exit(0);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
