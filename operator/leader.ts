import { LABEL } from '../crds/api.ts';
import { attachmentKey } from './channel/attachment-key.ts';
import { ensureCertificate } from './channel/certificate.ts';
import { publishLeader } from './channel/endpoint-slice.ts';
import { Exporters } from './channel/exporters.ts';
import { authorizer } from './channel/identity.ts';
import { MoverRegistry } from './channel/movers.ts';
import { LauncherRegistry } from './channel/registry.ts';
import { ChannelServer } from './channel/server.ts';
import { CHANNEL_SECRET, channelServerName, OPERATOR_NAME } from './config.ts';
import { controllers } from './controllers.ts';
import type { OperatorDeps } from './deps.ts';
import { Cache } from './kube/cache.ts';
import { isUnavailable } from './kube/errors.ts';
import { EventRecorder } from './kube/events.ts';
import { pods } from './kube/resources.ts';
import { jittered, sleep } from './kube/sleep.ts';
import type { Standby } from './standby.ts';
import { projectLauncher } from './virtual-machine/observe.ts';

/** The channel's certificate is looked at this often, for its renewal. */
const CERTIFICATE_CHECK_MS = 12 * 3_600_000;

/**
 * What only the leader does: caches, controllers, and the launchers' channel. Loaded when a replica becomes
 * leader, so that a standby stays small. Ends after the signal, when all work under way is done.
 */
export async function lead(standby: Standby, signal: AbortSignal): Promise<void> {
  const { config, client, log, metrics, now } = standby;
  const launchers = new LauncherRegistry({ log, now });
  const movers = new MoverRegistry(log);
  metrics.countLaunchers(() => launchers.size);
  const events = new EventRecorder({ client, component: OPERATOR_NAME, instance: config.podName, log, now });

  const dnsNames = [
    channelServerName(config.podNamespace),
    `${channelServerName(config.podNamespace)}.cluster.local`,
  ];
  const secret = { namespace: config.podNamespace, name: CHANNEL_SECRET };
  const certify = () => ensureCertificate({ client, secret, dnsNames, log, now });
  const certificate = await untilDone(certify, standby, signal);
  if (certificate === undefined) return;
  const keyOf = (podUid: string) => attachmentKey(certificate.attachmentSecret, podUid);
  const exporters = new Exporters(log, keyOf);

  const caches: { readonly synced: Promise<void>; run(signal: AbortSignal): Promise<void> }[] = [];
  const cache: OperatorDeps['cache'] = (resource, options = {}) => {
    const namespace = resource.namespaced ? config.watchNamespace : undefined;
    const made = new Cache(client, resource, { ...options, namespace, log, metrics });
    caches.push(made);
    return made;
  };
  const launcherPods = cache(pods, {
    labelSelector: LABEL.vm,
    transform: projectLauncher,
    indexes: {
      vm: (pod) => [`${pod.metadata.namespace}/${pod.metadata.labels?.[LABEL.vm]}`],
      uid: (pod) => [pod.metadata.uid],
    },
  });
  const deps: OperatorDeps = {
    config,
    client,
    cache,
    launcherPods,
    launchers,
    movers,
    exporters,
    attachmentKey: keyOf,
    channel: {
      addresses: config.channelAddresses,
      serverName: channelServerName(config.podNamespace),
      caCertificate: certificate.authority,
    },
    events,
    metrics,
    registry: metrics.registry,
    log,
    now,
  };
  const all = controllers(deps);
  const running = caches.map((each) => each.run(signal));
  running.push(events.run(signal));

  let synced = false;
  const server = new ChannelServer({
    client,
    certificate,
    registry: launchers,
    movers,
    exporters,
    authorize: authorizer(client, (key) => launcherPods.get(key)),
    ready: () => synced,
    log,
  });
  await server.listen(config.channelPort);
  const publish = () =>
    publishLeader({
      client,
      namespace: config.podNamespace,
      service: OPERATOR_NAME,
      podName: config.podName,
      podIP: config.podIP,
      fieldManager: OPERATOR_NAME,
    });
  // Before the caches are full, so that launchers find us while we read.
  running.push(untilDone(publish, standby, signal).then(() => {}));

  await Promise.race([Promise.all(caches.map((each) => each.synced)), aborted(signal)]);
  if (!signal.aborted) {
    synced = true;
    standby.leading('ready');
    log.info({ controllers: all.map((each) => each.name) }, 'caches are full; controllers run');
    running.push(...all.map((each) => each.run(signal)));
    running.push(renewing(certify, server, standby, signal));
  }
  await Promise.all(running);
  server.close();
}

/** Repeats what the operator cannot do without until it succeeds; `undefined` when the signal came first. */
async function untilDone<T>(
  work: () => Promise<T>,
  { log }: Standby,
  signal: AbortSignal,
): Promise<T | undefined> {
  for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 15_000)) {
    try {
      return await work();
    } catch (error) {
      const next = isUnavailable(error)
        ? 'trying again'
        : 'trying again; the chart’s RBAC and Service should allow it';
      log.error({ err: error }, `the operator cannot get ready: ${next}`);
      await sleep(jittered(pause), signal);
    }
  }
  return undefined;
}

async function renewing(
  certify: () => ReturnType<typeof ensureCertificate>,
  server: ChannelServer,
  standby: Standby,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await sleep(CERTIFICATE_CHECK_MS, signal);
    const certificate = await untilDone(certify, standby, signal);
    if (certificate === undefined) return;
    server.renew(certificate);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
