import type { V1Deployment } from '@kubernetes/client-node';
import type { Stored } from '../../operator/kube/object.ts';
import { define } from '../../operator/kube/resources.ts';

type StoredDeployment = Stored<V1Deployment>;
export type Deployment = StoredDeployment & { readonly spec: NonNullable<StoredDeployment['spec']> };

export const deployments = define<Deployment>('apps/v1', 'Deployment', 'deployments');
