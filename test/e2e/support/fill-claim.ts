import { pods } from '../../../operator/kube/resources.ts';
import { busyboxImage } from '../../cluster/local/definition.ts';
import type { Bed } from './bed.ts';
import { claim, clientPod } from './manifests.ts';
import { poll } from './poll.ts';

/** A claim with an empty raw disk in it, as a person would bring one along. */
export async function fillClaim(bed: Bed, name: string, mebibytes: number, spec: object = {}): Promise<void> {
  const pod = clientPod(`fill-${name}`, busyboxImage) as { spec: { containers: object[] } };
  const command = ['/bin/busybox', 'truncate', '-s', `${mebibytes}M`, '/claim/disk.img'];
  await bed.apply(claim(name, spec), {
    ...pod,
    spec: {
      ...pod.spec,
      restartPolicy: 'Never',
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 107,
        fsGroup: 107,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        { ...pod.spec.containers[0], command, volumeMounts: [{ name: 'claim', mountPath: '/claim' }] },
      ],
      volumes: [{ name: 'claim', persistentVolumeClaim: { claimName: name } }],
    },
  });
  await poll(`claim ${name} to be filled`, async () => {
    const { status } = await bed.client.get(pods, { namespace: bed.namespace, name: `fill-${name}` });
    return status?.phase === 'Succeeded';
  });
  await bed.kubectl('delete', 'pod', `fill-${name}`);
}
