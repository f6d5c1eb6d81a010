import { expect, test } from 'vitest';
import { virtualMachineSpec } from '../crds/virtual-machine.ts';
import { clonedSpec } from './clone.ts';

const spec = virtualMachineSpec.parse({
  memory: { size: '1Gi' },
  firmware: { type: 'UEFI', uuid: '6f0d3f9e-3c1b-4c55-9d0e-2f6a8c1b7e11', serial: 'S1' },
  state: { size: '1Gi' },
  cloudInit: { hostname: 'web', userData: '#cloud-config' },
  networks: [{ name: 'default', pod: {}, macAddress: '02:00:5e:00:53:01' }],
  disks: [
    { name: 'root', source: { image: { name: 'debian', clone: 'Linked' } }, claim: { size: '20Gi' } },
    {
      name: 'data',
      source: { blank: {} },
      claim: { size: '1Gi', reclaimPolicy: 'Delete' },
      preallocate: true,
    },
    { name: 'cd', device: 'cdrom', source: { image: { name: 'iso' } } },
  ],
});

test('a clone is the same machine with an identity of its own', () => {
  const clone = clonedSpec(spec, 'web2', false);
  expect(virtualMachineSpec.safeParse(clone).error).toBeUndefined();
  expect(clone).toEqual({
    memory: { size: '1Gi' },
    firmware: { type: 'UEFI' },
    state: { size: '1Gi' },
    cloudInit: { userData: '#cloud-config' },
    networks: [{ name: 'default', pod: {} }],
    disks: [
      { name: 'root', source: { image: { name: 'web2-root' } }, claim: { size: '20Gi' } },
      {
        name: 'data',
        source: { image: { name: 'web2-data' } },
        claim: { size: '1Gi', reclaimPolicy: 'Delete' },
      },
      { name: 'cd', device: 'cdrom', source: { image: { name: 'iso' } } },
    ],
  });
  expect(clonedSpec(spec, 'web2', true).disks?.[1]?.source).toEqual({
    image: { name: 'web2-data', clone: 'Linked' },
  });
});
