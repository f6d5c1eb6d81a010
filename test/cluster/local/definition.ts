/**
 * The cluster as data: which containers there are and what runs in each. Pure, so that a change of anything here
 * changes the cluster's key and makes the next start build it anew.
 */

import { basename } from 'node:path';
import { binaries } from '../../../setup/paths.ts';

const clusterDomain = 'cluster.local';
const serviceRange = '10.96.0.0/16';
export const dnsAddress = '10.96.0.10';
/** Images that the nodes themselves need, made by the set-up. */
export const pauseImage = 'vmstead.test/pause:1';
export const busyboxImage = 'vmstead.test/busybox:1';

export interface Machine {
  name: string;
  /** Decides its address and its pods' range: 10.244.<index>.0/24. */
  index: number;
  /** The last byte of its address in the cluster's /24. */
  host: number;
  kvm: boolean;
  /** containerd hands devices to the pod's user; off is containerd's default. */
  deviceOwnership: boolean;
}

export const controlPlane: Machine = {
  name: 'control-plane',
  index: 1,
  host: 2,
  kvm: false,
  deviceOwnership: false,
};

/** worker-2 stays at containerd's defaults: Vmstead must work there too. */
export const workers: readonly Machine[] = [
  { name: 'worker-1', index: 11, host: 11, kvm: true, deviceOwnership: true },
  { name: 'worker-2', index: 12, host: 12, kvm: true, deviceOwnership: false },
];

export const machines: readonly Machine[] = [controlPlane, ...workers];

/** A shell script that a supervisor runs again whenever it ends. */
type Services = Record<string, string>;

function command(program: string, flags: readonly string[]): string {
  return `exec ${program} \\\n  ${flags.map((flag) => `'${flag}'`).join(' \\\n  ')}\n`;
}

const pki = '/etc/vmstead/pki';

/** Where every machine sees what the set-up built. */
export const cacheMount = '/opt/cache';
const csiPrograms = `${cacheMount}/${basename(binaries.csi)}`;
const csiSocket = '/run/csi/csi.sock';

export function controlPlaneServices(address: string): Services {
  return {
    etcd: command('etcd', [
      '--data-dir=/var/lib/etcd/vmstead',
      '--listen-client-urls=http://127.0.0.1:2379',
      '--advertise-client-urls=http://127.0.0.1:2379',
      '--unsafe-no-fsync',
      // As kubeadm sets it: without it, watches of quiet resources get no bookmarks.
      '--experimental-watch-progress-notify-interval=5s',
    ]),
    'kube-apiserver': command('kube-apiserver', [
      '--etcd-servers=http://127.0.0.1:2379',
      `--service-cluster-ip-range=${serviceRange}`,
      '--secure-port=6443',
      `--advertise-address=${address}`,
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      '--authorization-mode=Node,RBAC',
      `--service-account-issuer=https://kubernetes.default.svc.${clusterDomain}`,
      `--service-account-key-file=${pki}/sa.pub`,
      `--service-account-signing-key-file=${pki}/sa.key`,
      `--kubelet-client-certificate=${pki}/kubelet-client.crt`,
      `--kubelet-client-key=${pki}/kubelet-client.key`,
      '--kubelet-preferred-address-types=InternalIP',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged=true',
      '--audit-policy-file=/etc/vmstead/audit-policy.json',
      '--audit-log-path=/var/log/services/audit.log',
      '--audit-log-maxsize=1000',
    ]),
    'kube-controller-manager': command('kube-controller-manager', [
      '--kubeconfig=/etc/vmstead/kube-controller-manager.kubeconfig',
      '--bind-address=127.0.0.1',
      '--leader-elect=false',
      '--use-service-account-credentials=true',
      `--service-account-private-key-file=${pki}/sa.key`,
      `--root-ca-file=${pki}/ca.crt`,
      `--cluster-signing-cert-file=${pki}/ca.crt`,
      `--cluster-signing-key-file=${pki}/ca.key`,
    ]),
    'kube-scheduler': command('kube-scheduler', [
      '--kubeconfig=/etc/vmstead/kube-scheduler.kubeconfig',
      '--bind-address=127.0.0.1',
      '--leader-elect=false',
    ]),
    coredns: command('/opt/coredns/coredns', ['-conf=/etc/vmstead/Corefile']),
    'local-path-provisioner': command('/opt/local-path-provisioner/local-path-provisioner', [
      'start',
      '--config=/etc/vmstead/local-path.json',
      '--kubeconfig=/etc/vmstead/local-path-provisioner.kubeconfig',
      '--namespace=kube-system',
      '--configmap-name=local-path-provisioner',
      '--service-account-name=default',
      `--helper-image=${busyboxImage}`,
    ]),
  };
}

/** Runs on the control plane from when a test asks for the CSI driver. */
export function controlPlaneStorage(): Services {
  const sidecar = (name: string, ...flags: string[]): string =>
    command(`${csiPrograms}/${name}`, [
      '--kubeconfig=/etc/vmstead/csi.kubeconfig',
      '--leader-election=false',
      ...flags,
    ]);
  const address = `--csi-address=${csiSocket}`;
  // They would wait for its kinds, which we do not have.
  const noGroups = '--feature-gates=CSIVolumeGroupSnapshot=false';
  return {
    'csi-driver': command(`${csiPrograms}/csi-driver`, ['-pool=/opt/volumes/csi', `-endpoint=${csiSocket}`]),
    'csi-provisioner': sidecar('csi-provisioner', address, '--default-fstype=xfs'),
    'csi-attacher': sidecar('csi-attacher', address),
    'csi-resizer': sidecar('csi-resizer', address, '--handle-volume-inuse-error=false'),
    'csi-snapshotter': sidecar('csi-snapshotter', address, noGroups),
    'snapshot-controller': sidecar('snapshot-controller', noGroups),
  };
}

/** Runs on a worker from when a test asks for the CSI driver. */
export function workerStorage(machine: Machine): Services {
  return { 'csi-driver': command(`${csiPrograms}/csi-driver`, [`-node=${machine.name}`]) };
}

export function workerServices(machine: Machine, address: string): Services {
  return {
    containerd: command('containerd', ['--config=/etc/vmstead/containerd.toml']),
    kubelet: command('kubelet', [
      '--config=/etc/vmstead/kubelet.json',
      '--kubeconfig=/etc/vmstead/kubelet.kubeconfig',
      `--hostname-override=${machine.name}`,
      `--node-ip=${address}`,
    ]),
    'kube-proxy': command('kube-proxy', [
      '--kubeconfig=/etc/vmstead/kube-proxy.kubeconfig',
      `--hostname-override=${machine.name}`,
      '--proxy-mode=iptables',
      '--cluster-cidr=10.244.0.0/16',
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0s',
      '--conntrack-tcp-timeout-close-wait=0s',
      '--oom-score-adj=0',
    ]),
  };
}

export function containerdConfig(machine: Machine): string {
  return `version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '${pauseImage}'

[plugins.'io.containerd.cri.v1.runtime']
  # Sandboxes without CAP_SYS_RESOURCE refuse to lower the OOM score.
  restrict_oom_score_adj = true
${machine.deviceOwnership ? '  device_ownership_from_security_context = true\n' : ''}`;
}

export function kubeletConfig(): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${pki}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    clusterDNS: [dnsAddress],
    clusterDomain,
    resolvConf: '',
    failSwapOn: false,
    failCgroupV1: false,
    oomScoreAdj: 0,
    // The nodes share one disk with everything else on the machine.
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    maxPods: 200,
  };
}

export function cniConfig(machine: Machine): object {
  return {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        mtu: 1450,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: `10.244.${machine.index}.0/24` }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

export const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
};

export const corefile = `.:53 {
  errors
  health :8080
  ready :8181
  kubernetes ${clusterDomain} in-addr.arpa ip6.arpa {
    kubeconfig /etc/vmstead/coredns.kubeconfig
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
  }
  cache 5
}
`;

/** local-path-provisioner's own configuration, by storage class. */
export const localPathConfig = {
  storageClassConfigs: {
    local: { nodePathMap: [{ node: 'DEFAULT_PATH_FOR_NON_LISTED_NODES', paths: ['/opt/volumes'] }] },
    // The same folder on every node.
    shared: { sharedFileSystemPath: '/var/lib/shared' },
  },
};
