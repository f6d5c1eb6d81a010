/** Networks of a VirtualMachine. */
import * as z from 'zod';
import { dnsLabel } from './kubernetes.ts';
import { described, exactlyOne, integer, listMap, matching, rule } from './schema.ts';

const port = z.strictObject({
  name: described('Name of the port.', dnsLabel(15)),
  port: described("Port of the guest, and of the pod's IP.", integer(1, 65535)),
  protocol: described('TCP (absent) or UDP.', z.enum(['TCP', 'UDP'])).optional(),
});

const ports = rule(
  listMap(port, 'name', 64),
  'self.all(a, self.exists_one(b, a.port == b.port && (has(a.protocol) ? a.protocol : "TCP") == (has(b.protocol) ? b.protocol : "TCP")))',
  'two ports have the same number and protocol',
  (list) => new Set(list.map((each) => `${each.port}/${each.protocol ?? 'TCP'}`)).size === list.length,
);

const network = exactlyOne(
  z.strictObject({
    name: described('Name of the network in this VM.', dnsLabel(30)),
    pod: described("The pod's network: the VM answers on the pod's IP.", z.strictObject({})).optional(),
    model: described('Network card: virtio (absent) or e1000e.', z.enum(['virtio', 'e1000e'])).optional(),
    macAddress: described(
      "MAC address of the guest's card. Absent: derived from the VM's namespace and name.",
      matching(
        /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/,
        17,
        'must be a unicast MAC address in lower case, such as 02:00:5e:00:53:01',
      ),
    ).optional(),
    ports: described("Ports of the guest that are reached on the pod's IP.", ports).optional(),
  }),
  ['pod'],
  'must have the member pod: {}',
);

export const networks = rule(
  rule(
    listMap(network, 'name', 8),
    'self.filter(n, has(n.pod)).size() <= 1',
    'only one network can be the pod network',
    (list) => list.filter((each) => each.pod !== undefined).length <= 1,
  ),
  'self.all(a, !has(a.macAddress) || self.exists_one(b, has(b.macAddress) && a.macAddress == b.macAddress))',
  'two networks have the same macAddress',
  (list) => {
    const macs = list.flatMap((each) => (each.macAddress === undefined ? [] : [each.macAddress]));
    return new Set(macs).size === macs.length;
  },
);
