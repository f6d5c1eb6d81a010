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
  type Rule,
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
    image: described(
      'A VirtualMachineImage of this namespace. A disk begins as its copy, in a claim that Vmstead makes once; a cdrom is the image itself.',
      z.strictObject({
        name: described('Name of the VirtualMachineImage.', dnsLabel(50)),
        clone: described(
          'Full (absent): the disk starts at once on top of the image, and is made independent of it while the VM runs. Linked: it stays on top of the image, and takes only the room of what the guest writes.',
          z.enum(['Linked', 'Full']),
        ).optional(),
      }),
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
  ['claim', 'blank', 'image', 'containerImage'],
  'must have exactly one of claim, blank, image or containerImage',
);

const IS_BLANK = 'has(self.source) && has(self.source.blank)';
const IS_IMAGE = 'has(self.source) && has(self.source.image)';
const IS_CDROM = "has(self.device) && self.device == 'cdrom'";

const perSecond = (what: string) =>
  described(`${what} a second.`, bytesBetween('64Ki', '1Ti', 'a bandwidth')).optional();
const operations = (what: string) => described(`${what} a second.`, integer(1, 1_000_000_000)).optional();

/** QEMU counts either all together or reading and writing apart. */
function togetherOrApart(total: 'iops' | 'bandwidth', read: 'readIops' | 'readBandwidth'): Rule<Limits> {
  const write = read === 'readIops' ? 'writeIops' : 'writeBandwidth';
  return {
    cel: `!has(self.${total}) || !has(self.${read}) && !has(self.${write})`,
    message: `${total} is for reading and writing together; take it away, or ${read} and ${write}`,
    at: `.${total}`,
    holds: (limits) =>
      limits[total] === undefined || (limits[read] === undefined && limits[write] === undefined),
  };
}

const limitMembers = z.strictObject({
  iops: operations('Reads and writes together'),
  readIops: operations('Reads'),
  writeIops: operations('Writes'),
  bandwidth: perSecond('Bytes read and written together'),
  readBandwidth: perSecond('Bytes read'),
  writeBandwidth: perSecond('Bytes written'),
});
type Limits = typeof limitMembers;

const limits = rules(limitMembers, [
  togetherOrApart('iops', 'readIops'),
  togetherOrApart('bandwidth', 'readBandwidth'),
]);

/** CEL: the disk has a claim of its own that began as an image. */
const fromImage = (disk: 'self' | 'oldSelf') =>
  `(has(${disk}.source) && has(${disk}.source.image) && has(${disk}.claim))`;

const disk = transition(
  rules(
    z.strictObject({
      name: described('Name of the disk in this VM.', dnsLabel(30)),
      device: described('disk (absent) or cdrom.', z.enum(['disk', 'cdrom'])).optional(),
      bus: described(
        'virtio (absent, for a disk), scsi, sata (absent, for a cdrom), nvme, ide or usb.',
        z.enum(['virtio', 'scsi', 'sata', 'nvme', 'ide', 'usb']),
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
      cache: described(
        "none (absent): past the node's page cache. writeback: through it. writethrough: each write is on the storage before the guest goes on.",
        z.enum(['none', 'writeback', 'writethrough']),
      ).optional(),
      aio: described(
        'How QEMU waits for the storage: native (absent, where the cache is none), threads (absent otherwise) or io_uring. One that the node does not allow is left for native; status.disks says what is used.',
        z.enum(['threads', 'native', 'io_uring']),
      ).optional(),
      preallocate: described(
        'The whole disk is reserved on its volume when it is made, and kept reserved. Absent: it takes the room that the guest uses.',
        z.boolean(),
      ).optional(),
      limits: described(
        'Most that the guest may ask of the disk. A change takes effect at once.',
        limits,
      ).optional(),
      source: described(
        'Where the data are: exactly one member. A cdrom without it is an empty drive.',
        diskSource,
      ).optional(),
      claim: described('The claim to make, for a source that needs one.', claimTemplate).optional(),
    }),
    [
      {
        cel: "has(self.source) || has(self.device) && self.device == 'cdrom'",
        message: 'a disk needs a source; only a cdrom may be without, as an empty drive',
        at: '.source',
        holds: ({ source, device }) => source !== undefined || device === 'cdrom',
      },
      {
        cel: `!(${IS_BLANK}) || has(self.claim)`,
        message: 'a blank disk needs claim: {size: 10Gi}, the claim to make for it',
        at: '.claim',
        holds: ({ source, claim }) => source?.blank === undefined || claim !== undefined,
      },
      {
        cel: `!(${IS_IMAGE}) || (${IS_CDROM}) || has(self.claim)`,
        message: 'a disk from an image needs claim: {size: 10Gi}, the claim to make for it',
        at: '.claim',
        holds: ({ source, device, claim }) =>
          source?.image === undefined || device === 'cdrom' || claim !== undefined,
      },
      {
        cel: `${IS_BLANK} || ${IS_IMAGE} && !(${IS_CDROM}) || !has(self.claim)`,
        message:
          'claim goes with source.blank, and with source.image of a disk; take it away: an existing claim keeps its own size and class, and a container image or a cdrom needs none',
        at: '.claim',
        holds: ({ source, device, claim }) =>
          source?.blank !== undefined ||
          (source?.image !== undefined && device !== 'cdrom') ||
          claim === undefined,
      },
      {
        cel: "!has(self.claim) || self.name != 'state'",
        message:
          'a disk with a claim of its own cannot have the name state: its claim would have the name of the state claim',
        at: '.name',
        holds: ({ claim, name }) => claim === undefined || name !== 'state',
      },
      {
        cel: `!(${IS_CDROM}) || !(${IS_BLANK})`,
        message: 'a cdrom cannot be blank; give it source.claim, source.image or source.containerImage',
        at: '.source',
        holds: ({ source, device }) => device !== 'cdrom' || source?.blank === undefined,
      },
      {
        cel: `!(${IS_CDROM}) || !has(self.bus) || !(self.bus in ['virtio', 'nvme'])`,
        message: 'there is no virtio or nvme cdrom; leave bus out, or make it sata, scsi, ide or usb',
        at: '.bus',
        holds: ({ device, bus }) => device !== 'cdrom' || (bus !== 'virtio' && bus !== 'nvme'),
      },
      {
        cel: `!(${IS_CDROM}) || !has(self.limits)`,
        message: 'a cdrom has no limits; take them away',
        at: '.limits',
        holds: ({ device, limits }) => device !== 'cdrom' || limits === undefined,
      },
      {
        cel: "!has(self.aio) || self.aio != 'native' || !has(self.cache) || self.cache == 'none'",
        message: 'aio native needs cache none: Linux does it past the page cache only; leave one of them out',
        at: '.aio',
        holds: ({ aio, cache }) => aio !== 'native' || cache === undefined || cache === 'none',
      },
      {
        cel: `!has(self.preallocate) || !self.preallocate || ${IS_BLANK}`,
        message: 'preallocate goes with source.blank only: other disks are made already; take it away',
        at: '.preallocate',
        holds: ({ preallocate, source }) => preallocate !== true || source?.blank !== undefined,
      },
    ],
  ),
  `(${IS_BLANK}) == (has(oldSelf.source) && has(oldSelf.source.blank)) && ${fromImage('self')} == ${fromImage('oldSelf')} && (!${fromImage('self')} || self.source.image.name == oldSelf.source.image.name)`,
  'a disk cannot become blank or made from an image, nor cease to be it: its claim has its data; add a disk with another name instead',
);

export const disks = rules(listMap(disk, 'name', 32), [
  {
    cel: 'self.all(a, !has(a.bootOrder) || self.exists_one(b, has(b.bootOrder) && a.bootOrder == b.bootOrder))',
    message: 'two disks have the same bootOrder; give each its own number, or leave it out',
    holds: (list) => distinct(list.flatMap((each) => each.bootOrder ?? [])),
  },
  {
    cel: 'self.all(a, !has(a.source) || !has(a.source.claim) || self.exists_one(b, has(b.source) && has(b.source.claim) && a.source.claim.name == b.source.claim.name))',
    message: 'two disks name the same claim; a claim holds one disk',
    holds: (list) => distinct(list.flatMap((each) => each.source?.claim?.name ?? [])),
  },
]);
