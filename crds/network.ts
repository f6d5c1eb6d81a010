/** Networks of a VirtualMachine. */
import * as z from 'zod';
import { dnsLabel } from './kubernetes.ts';
import { described, distinct, exactlyOne, integer, listMap, matching, rule, rules } from './schema.ts';

const port = z.strictObject({
  name: described('Name of the port.', dnsLabel(15)),
  port: described("Port of the guest, and of the pod's IP.", integer(1, 65535)),
  protocol: described('TCP (absent) or UDP.', z.enum(['TCP', 'UDP'])).optional(),
});

const ports = rule(
  listMap(port, 'name', 64),
  'self.all(a, self.exists_one(b, a.port == b.port && (has(a.protocol) ? a.protocol : "TCP") == (has(b.protocol) ? b.protocol : "TCP")))',
  'two ports have the same port and protocol; list each once',
  (list) => distinct(list.map((each) => `${each.port}/${each.protocol ?? 'TCP'}`)),
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
  'needs pod: {}, the only kind of network so far',
);

export const networks = rules(listMap(network, 'name', 8), [
  {
    cel: 'self.filter(n, has(n.pod)).size() <= 1',
    message: 'only one network can be the pod network; take the others away',
    holds: (list) => list.filter((each) => each.pod !== undefined).length <= 1,
  },
  {
    cel: 'self.all(a, !has(a.macAddress) || self.exists_one(b, has(b.macAddress) && a.macAddress == b.macAddress))',
    message: 'two networks have the same macAddress; give each its own, or leave it out',
    holds: (list) => distinct(list.flatMap((each) => each.macAddress ?? [])),
  },
]);
