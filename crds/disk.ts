/** Disks of a VirtualMachine, and the claims that hold them. */
import * as z from 'zod';
import { containerImageFields, dnsLabel, objectName } from './kubernetes.ts';
import { bytesBetween } from './quantity.ts';
import {
  atomicList,
  described,
  distinct,
  exactlyOne,
  integer,
  listMap,
  matching,
  rules,
  transition,
} from './schema.ts';

const accessMode = z.enum(['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany']);
const reclaimPolicy = described(
  'Retain (absent): the claim stays when the VM is deleted. Delete: it goes with the VM, and the data with it.',
  z.enum(['Retain', 'Delete']),
);

const size = (what: string, min: string, max: string) =>
  described(
    `Size of ${what}, such as ${min === '8Mi' ? '64Mi' : '10Gi'}.`,
    bytesBetween(min, max, `the size of ${what}`),
  );
const storageClassName = described("Storage class. Absent: the cluster's default.", objectName()).optional();
const accessModes = described(
  'How many may mount it. Absent: ReadWriteOnce.',
  atomicList(accessMode, 3, 1),
).optional();

/** What a claim that is there cannot change: the API server would refuse it for the claim as well. */
function keeps(...fields: string[]): string {
  return [
    '(!isQuantity(self.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0)',
    ...fields.flatMap((field) => [
      `has(self.${field}) == has(oldSelf.${field})`,
      `(!has(self.${field}) || self.${field} == oldSelf.${field})`,
    ]),
  ].join(' && ');
}

const claimTemplate = transition(
  z.strictObject({
    size: size('the claim', '1Mi', '1024Ti'),
    storageClassName,
    accessModes,
    volumeMode: described('Filesystem (absent) or Block.', z.enum(['Filesystem', 'Block'])).optional(),
    reclaimPolicy: reclaimPolicy.optional(),
  }),
  keeps('storageClassName', 'accessModes', 'volumeMode'),
  'a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; add a disk with another name instead',
);

export const state = transition(
  z.strictObject({
    size: size('the state claim', '8Mi', '16Ti'),
    storageClassName,
    accessModes,
    reclaimPolicy: reclaimPolicy.optional(),
  }),
  keeps('storageClassName', 'accessModes'),
  'the state claim cannot shrink, nor change its storageClassName or accessModes; take state away, delete the claim and put state back to begin with an empty one',
);

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
  rules(
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
    [
      {
        cel: '!has(self.source.blank) || has(self.claim)',
        message: 'a blank disk needs claim: {size: 10Gi}, the claim to make for it',
        at: '.claim',
        holds: ({ source, claim }) => source.blank === undefined || claim !== undefined,
      },
      {
        cel: 'has(self.source.blank) || !has(self.claim)',
        message:
          'claim goes with source.blank only; take it away: an existing claim keeps its own size and class, and an image needs none',
        at: '.claim',
        holds: ({ source, claim }) => source.blank !== undefined || claim === undefined,
      },
      {
        cel: "!has(self.source.blank) || self.name != 'state'",
        message: 'a blank disk cannot have the name state: its claim would have the name of the state claim',
        at: '.name',
        holds: ({ source, name }) => source.blank === undefined || name !== 'state',
      },
      {
        cel: "!has(self.device) || self.device != 'cdrom' || !has(self.source.blank)",
        message: 'a cdrom cannot be blank; give it source.claim or source.containerImage',
        at: '.source',
        holds: ({ source, device }) => device !== 'cdrom' || source.blank === undefined,
      },
      {
        cel: "!has(self.device) || self.device != 'cdrom' || !has(self.bus) || self.bus != 'virtio'",
        message: 'there is no virtio cdrom; leave bus out, or make it sata or scsi',
        at: '.bus',
        holds: ({ device, bus }) => device !== 'cdrom' || bus !== 'virtio',
      },
    ],
  ),
  'has(self.source.blank) == has(oldSelf.source.blank)',
  'source cannot become blank or cease to be it; add a disk with another name instead',
);

export const disks = rules(listMap(disk, 'name', 32), [
  {
    cel: 'self.all(a, !has(a.bootOrder) || self.exists_one(b, has(b.bootOrder) && a.bootOrder == b.bootOrder))',
    message: 'two disks have the same bootOrder; give each its own number, or leave it out',
    holds: (list) => distinct(list.flatMap((each) => each.bootOrder ?? [])),
  },
  {
    cel: 'self.all(a, !has(a.source.claim) || self.exists_one(b, has(b.source.claim) && a.source.claim.name == b.source.claim.name))',
    message: 'two disks name the same claim; a claim holds one disk',
    holds: (list) => distinct(list.flatMap((each) => each.source.claim?.name ?? [])),
  },
]);
