import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { binary } from '../../setup/paths.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { createAuthority, type KeyPair } from './pki.ts';

/** A real kube-apiserver on loopback without nodes; `await using` ends it. */
export interface ApiServer extends AsyncDisposable {
  /** `https://127.0.0.1:<port>` */
  url: string;
  /** Self-contained, member of `system:masters`. */
  kubeconfigPath: string;
  /** Logs, certificates and the audit log live here until `stop`. */
  directory: string;
  /** JSON lines, level Metadata. */
  auditLogPath: string;
  /** A kubeconfig for another user of the cluster, to test RBAC as that user. */
  kubeconfigFor(user: string, groups?: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface ApiServerOptions {
  /** Runs kube-controller-manager too: garbage collection, namespaces that end, service accounts. */
  controllerManager?: boolean;
  /** More flags for kube-apiserver. */
  flags?: string[];
}

/** Free TCP ports of loopback, distinct from each other. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Asks `/readyz` once; any failure is "not yet". */
async function isReady(port: number, ca: Buffer, client: { cert: Buffer; key: Buffer }): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port, path: '/readyz', ca, ...client }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on('error', () => resolve(false));
    call.setTimeout(2000, () => call.destroy(new Error('timeout')));
    call.end();
  });
}

/** Starts a process that dies with this one, its output in `<directory>/<name>.log`. */
function startProcess(directory: string, name: string, command: string, args: string[]): ChildProcess {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = createWriteStream(join(directory, `${name}.log`));
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
};

/**
 * Starts etcd and kube-apiserver as processes on loopback (about 5 s), in a temporary folder.
 *
 * @throws Error with the end of the log when one of them does not come up within 60 s
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const directory = await mkdtemp(join(tmpdir(), 'vmstead-api-'));
  await mkdir(join(directory, 'etcd'), { mode: 0o700 });
  const [ports, authority] = await Promise.all([freePorts(4), createAuthority(join(directory, 'pki'))]);
  const [etcdPort, peerPort, apiPort, controllerPort] = ports as [number, number, number, number];
  const [server, admin, controller, accounts] = await Promise.all([
    authority.issue('apiserver', '/CN=kube-apiserver', [
      ...['DNS:localhost', 'DNS:kubernetes', 'DNS:kubernetes.default', 'DNS:kubernetes.default.svc'],
      ...['IP:127.0.0.1', 'IP:10.96.0.1'],
    ]),
    authority.issue('admin', '/O=system:masters/CN=admin'),
    authority.issue('controller-manager', '/CN=system:kube-controller-manager'),
    authority.serviceAccountKey(),
  ]);
  const url = `https://127.0.0.1:${apiPort}`;
  const auditLogPath = join(directory, 'audit.log');
  await writeFile(join(directory, 'audit-policy.json'), JSON.stringify(auditPolicy));

  const processes: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map(end));
    await rm(directory, { recursive: true, force: true, maxRetries: 3 });
  };
  processes.push(
    startProcess(directory, 'etcd', binary('etcd', 'etcd'), [
      `--data-dir=${join(directory, 'etcd')}`,
      `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
      `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
      `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
      '--unsafe-no-fsync',
      // As kubeadm sets it: without it, watches of quiet resources get no bookmarks.
      '--experimental-watch-progress-notify-interval=5s',
    ]),
  );
  const apiServer = startProcess(directory, 'kube-apiserver', binary('kubernetes', 'kube-apiserver'), [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--endpoint-reconciler-type=none',
    `--secure-port=${apiPort}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    `--tls-cert-file=${server.certificate}`,
    `--tls-private-key-file=${server.key}`,
    `--client-ca-file=${authority.certificate}`,
    '--authorization-mode=RBAC',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${accounts.publicKey}`,
    `--service-account-signing-key-file=${accounts.privateKey}`,
    '--allow-privileged=true',
    `--audit-policy-file=${join(directory, 'audit-policy.json')}`,
    `--audit-log-path=${auditLogPath}`,
    ...(options.controllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
    ...(options.flags ?? []),
  ]);
  processes.push(apiServer);

  const ca = await readFile(authority.certificate);
  const client = { cert: await readFile(admin.certificate), key: await readFile(admin.key) };
  const deadline = Date.now() + 60_000;
  while (!(await isReady(apiPort, ca, client))) {
    if (Date.now() > deadline || apiServer.exitCode !== null) {
      const tail = (await readFile(join(directory, 'kube-apiserver.log'), 'utf8')).split('\n').slice(-15);
      await stop();
      throw new Error(`kube-apiserver did not become ready; the end of its log:\n${tail.join('\n')}`);
    }
    await sleep(100);
  }

  const kubeconfig = async (name: string, pair: KeyPair): Promise<string> => {
    const path = join(directory, `${name}.kubeconfig`);
    await writeKubeconfig(path, url, authority.certificate, pair);
    return path;
  };
  if (options.controllerManager) {
    processes.push(
      startProcess(directory, 'kube-controller-manager', binary('kubernetes', 'kube-controller-manager'), [
        `--kubeconfig=${await kubeconfig('controller-manager', controller)}`,
        '--bind-address=127.0.0.1',
        `--secure-port=${controllerPort}`,
        '--leader-elect=false',
        '--use-service-account-credentials=true',
        `--service-account-private-key-file=${accounts.privateKey}`,
        `--root-ca-file=${authority.certificate}`,
      ]),
    );
  }
  let users = 0;
  return {
    url,
    directory,
    auditLogPath,
    kubeconfigPath: await kubeconfig('admin', admin),
    async kubeconfigFor(user, groups = []) {
      const name = `user-${++users}`;
      const subject = `${groups.map((group) => `/O=${group.replaceAll('/', '\\/')}`).join('')}/CN=${user}`;
      return kubeconfig(name, await authority.issue(name, subject));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
