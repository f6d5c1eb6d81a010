import type { VirtualMachine } from '../../../crds/virtual-machine.ts';
import type { KubeObject } from '../../../operator/kube/object.ts';
import { define } from '../../../operator/kube/resources.ts';

type Spec = VirtualMachine['spec'];
type Stored = KubeObject & { readonly spec: Spec };

export const vms = define<Stored>('vmstead.io/v1alpha1', 'VirtualMachine', 'virtualmachines');

/** The least that a VM needs, with what a test is about on top. */
export function vmWith(spec: object = {}, name = 'web') {
  return {
    metadata: { namespace: 'default', name },
    spec: {
      memory: { size: '1Gi' },
      disks: [{ name: 'root', source: { claim: { name: 'web-root' } } }],
      ...spec,
    } as Spec,
  };
}
