/** An operator that kills itself at a failpoint, in place of the release's own until it has done so. */

import { orNotFound } from '../../operator/kube/errors.ts';
import { pods } from '../../operator/kube/resources.ts';
import { releaseNamespace } from '../../setup/deploy.ts';
import type { Bed } from '../e2e/support/bed.ts';
import { poll } from '../e2e/support/poll.ts';
import { deployments } from './deployments.ts';

const NAME = 'vmstead-operator-saboteur';
const namespace = releaseNamespace;
const release = { namespace, name: 'vmstead-operator' };

async function scale(bed: Bed, replicas: number): Promise<void> {
  await bed.client.patch(deployments, release, { spec: { replicas } });
}

async function gone(bed: Bed): Promise<void> {
  await poll('the operators to be gone', async () => {
    const list = await bed.client.list(pods, {
      namespace,
      labelSelector: 'app.kubernetes.io/component=operator',
    });
    return list.length === 0;
  });
}

/**
 * Lets `work` be done by an operator that dies at `failpoint`, and by an ordinary one afterwards.
 *
 * @param failpoint as in VMSTEAD_FAILPOINTS
 * @param onDeath called when it has died
 * @returns whether the failpoint was reached at all
 */
export async function sabotaged(
  bed: Bed,
  failpoint: string,
  work: () => Promise<void>,
  onDeath: () => void,
): Promise<boolean> {
  // A run that was cut off may have left one.
  await orNotFound(bed.client.delete(pods, { namespace, name: NAME }, { gracePeriodSeconds: 0 }));
  await scale(bed, 0);
  await gone(bed);
  const { spec, metadata } = (await bed.client.get(deployments, release)).spec.template;
  const [container] = spec?.containers ?? [];
  if (!spec || !container) throw new Error('the operator has no container');
  await bed.client.create(pods, {
    metadata: { namespace, name: NAME, labels: { ...metadata?.labels } },
    spec: {
      ...spec,
      restartPolicy: 'Never',
      // Else the operator were PID 1, which the kernel protects from its own SIGKILL.
      shareProcessNamespace: true,
      containers: [
        { ...container, env: [...(container.env ?? []), { name: 'VMSTEAD_FAILPOINTS', value: failpoint }] },
      ],
    },
  });
  const end = new AbortController();
  let hit = false;
  const watching = (async () => {
    while (!end.signal.aborted && !hit) {
      const saboteur = await bed.client.get(pods, { namespace, name: NAME });
      hit = saboteur.status?.containerStatuses?.[0]?.state?.terminated !== undefined;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    if (hit) onDeath();
    await scale(bed, 2);
  })();
  try {
    await work();
  } finally {
    end.abort();
    await watching;
    await orNotFound(bed.client.delete(pods, { namespace, name: NAME }, { gracePeriodSeconds: 0 }));
  }
  return hit;
}
