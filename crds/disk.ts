/** Disks of a VirtualMachine, and the claims that hold them. */
import * as z from 'zod';
import { containerImageFields, dnsLabel, objectName } from './kubernetes.ts';
import { bytesBetween } from './quantity.ts';
import { atomicList, described, exactlyOne, integer, listMap, matching, rule, transition } from './schema.ts';

const accessMode = z.enum(['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany']);
const reclaimPolicy = described(
  'Retain (absent): the claim stays when the VM is deleted. Delete: it goes with the VM, and the data with it.',
  z.enum(['Retain', 'Delete']),
);

const claimTemplate = transition(
  z.strictObject({
    size: described('Size of the claim, such as 10Gi.', bytesBetween('1Mi', '1024Ti', 'the size of a claim')),
    storageClassName: described("Storage class. Absent: the cluster's default.", objectName()).optional(),
    accessModes: described('Absent: ReadWriteOnce.', atomicList(accessMode, 3, 1)).optional(),
    volumeMode: described('Filesystem (absent) or Block.', z.enum(['Filesystem', 'Block'])).optional(),
    reclaimPolicy: reclaimPolicy.optional(),
  }),
  [
    'quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0',
    'has(self.storageClassName) == has(oldSelf.storageClassName)',
    '(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)',
    'has(self.accessModes) == has(oldSelf.accessModes)',
    '(!has(self.accessModes) || self.accessModes == oldSelf.accessModes)',
    'has(self.volumeMode) == has(oldSelf.volumeMode)',
    '(!has(self.volumeMode) || self.volumeMode == oldSelf.volumeMode)',
  ].join(' && '),
  'a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; add a disk with another name instead',
);

export const state = z.strictObject({
  size: described(
    'Size of the claim that keeps UEFI variables.',
    bytesBetween('8Mi', '16Ti', 'the size of the state claim'),
  ),
  storageClassName: described("Storage class. Absent: the cluster's default.", objectName()).optional(),
  accessModes: described('Absent: ReadWriteOnce.', atomicList(accessMode, 3, 1)).optional(),
  reclaimPolicy: reclaimPolicy.optional(),
});

export const pathInImage = (what: string) =>
  matching(
    /^\/([A-Za-z0-9_+-][A-Za-z0-9._+-]*\/)*[A-Za-z0-9_+-][A-Za-z0-9._+-]*$/,
    255,
    `must be the absolute path of ${what} in the image, without .. or special characters`,
  );

const diskSource = exactlyOne(
  z.strictObject({
    claim: described(
      'A PersistentVolumeClaim of this namespace that is there already. A filesystem must hold the disk as disk.img (raw).',
      z.strictObject({ name: described('Name of the PersistentVolumeClaim.', objectName()) }),
    ).optional(),
    blank: described(
      'An empty disk in a claim that Vmstead makes once and never empties again.',
      z.strictObject({}),
    ).optional(),
    containerImage: described(
      'A disk in an OCI image, mounted as an image volume. What the guest writes goes to an overlay that is thrown away with the pod.',
      z.strictObject({
        ...containerImageFields,
        path: described(
          'Path of the disk in the image. Absent: the only file in /disk.',
          pathInImage('the disk'),
        ).optional(),
        overlaySize: described(
          'Most that the guest may write before its disk is full. Absent: 1Gi.',
          bytesBetween('1Mi', '16Ti', 'overlaySize'),
        ).optional(),
      }),
    ).optional(),
  }),
  ['claim', 'blank', 'containerImage'],
  'must have exactly one of claim, blank or containerImage',
);

const disk = transition(
  rule(
    rule(
      rule(
        z.strictObject({
          name: described('Name of the disk in this VM.', dnsLabel(30)),
          device: described('disk (absent) or cdrom.', z.enum(['disk', 'cdrom'])).optional(),
          bus: described(
            'virtio (absent, for a disk), scsi or sata (absent, for a cdrom).',
            z.enum(['virtio', 'scsi', 'sata']),
          ).optional(),
          bootOrder: described(
            'Place in the order in which the firmware tries devices, from 1.',
            integer(1, 1000),
          ).optional(),
          serial: described(
            'Serial number that the guest sees. Absent: derived from the name.',
            matching(
              /^[A-Za-z0-9_.-]{1,20}$/,
              20,
              'must be 1 to 20 letters, digits, dots, hyphens or underscores',
            ),
          ).optional(),
          readOnly: described('The guest cannot write.', z.boolean()).optional(),
          source: described('Where the data are: exactly one member.', diskSource),
          claim: described('The claim to make, for a source that needs one.', claimTemplate).optional(),
        }),
        'has(self.source.blank) == has(self.claim)',
        'a blank disk needs a claim block with a size, and no other source takes one: an existing claim keeps its own size and class',
        (value) => (value.source.blank !== undefined) === (value.claim !== undefined),
      ),
      "!has(self.device) || self.device != 'cdrom' || !has(self.source.blank)",
      'a cdrom cannot be blank; give it a claim or containerImage source',
      (value) => value.device !== 'cdrom' || value.source.blank === undefined,
    ),
    "!has(self.device) || self.device != 'cdrom' || !has(self.bus) || self.bus != 'virtio'",
    'a cdrom needs bus sata or scsi: there is no virtio cdrom',
    (value) => value.device !== 'cdrom' || value.bus !== 'virtio',
  ),
  'has(self.source.blank) == has(oldSelf.source.blank)',
  'a disk that Vmstead keeps in a claim of its own cannot change its source; add a disk with another name instead',
);
const disksWithDistinctOrders = rule(
  listMap(disk, 'name', 32),
  'self.all(a, !has(a.bootOrder) || self.exists_one(b, has(b.bootOrder) && a.bootOrder == b.bootOrder))',
  'two disks have the same bootOrder',
  (list) => {
    const orders = list.flatMap((each) => (each.bootOrder === undefined ? [] : [each.bootOrder]));
    return new Set(orders).size === orders.length;
  },
);

export const disks = rule(
  disksWithDistinctOrders,
  'self.all(a, !has(a.source.claim) || self.exists_one(b, has(b.source.claim) && a.source.claim.name == b.source.claim.name))',
  'two disks name the same claim',
  (list) => {
    const names = list.flatMap((each) => (each.source.claim === undefined ? [] : [each.source.claim.name]));
    return new Set(names).size === names.length;
  },
);
