/** The two sides of each comparison: a VM of ours, and the floor, a pod that runs QEMU by hand. */
import { API_VERSION } from '../../crds/api.ts';
import type { Draft } from '../../operator/kube/object.ts';
import type { Pod } from '../../operator/kube/resources.ts';
import type { StoredVirtualMachine } from '../../operator/virtual-machine/resources.ts';
import { tinyImage } from '../e2e/support/release.ts';

export const GUEST_MIB = 256;
/** no_timer_check: see docs/acceleration.md. Without it one floor pod of twenty was seen to hang at boot. */
const COMMAND_LINE = 'console=ttyS0 quiet panic=-1 no_timer_check';
const KERNEL = '/boot/vmlinuz';
const INITRD = '/boot/initrd.img';

/** One vCPU, 256 MiB, kernel and initrd from an image, on the pod network; deleted without grace. */
export function benchVm(name: string, namespace: string, node?: string): Draft<StoredVirtualMachine> {
  return {
    apiVersion: API_VERSION,
    kind: 'VirtualMachine',
    metadata: { namespace, name },
    spec: {
      runStrategy: 'Always',
      cpu: { cores: 1 },
      memory: { size: `${GUEST_MIB}Mi` },
      kernel: {
        image: tinyImage,
        pullPolicy: 'IfNotPresent',
        path: KERNEL,
        initrdPath: INITRD,
        commandLine: COMMAND_LINE,
      },
      networks: [{ name: 'default', pod: {} }],
      terminationGracePeriodSeconds: 0,
      ...(node === undefined ? {} : { pod: { nodeSelector: { 'kubernetes.io/hostname': node } } }),
    },
  };
}

/** The command line that a person writes who wants a VM in a pod and nothing else. */
const QEMU_BY_HAND = [
  ...['qemu-system-x86_64', '-nodefaults', '-display', 'none', '-serial', 'stdio'],
  ...['-machine', 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', String(GUEST_MIB), '-smp', '1'],
  ...['-kernel', `/kernel${KERNEL}`, '-initrd', `/kernel${INITRD}`, '-append', COMMAND_LINE],
];

/** @param image one that holds QEMU: the launcher's own, so that both run the same program */
export function floorPod(name: string, namespace: string, image: string, node?: string): Draft<Pod> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 107,
        runAsGroup: 107,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'qemu',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: QEMU_BY_HAND,
          resources: { requests: { cpu: '100m', memory: `${GUEST_MIB + 64}Mi` } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          volumeMounts: [{ name: 'kernel', mountPath: '/kernel', readOnly: true }],
        },
      ],
      volumes: [{ name: 'kernel', image: { reference: tinyImage, pullPolicy: 'IfNotPresent' } }],
    },
  };
}
