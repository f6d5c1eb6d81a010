/** Disks of a VirtualMachine, and the claims that hold them. */
import * as z from 'zod';
import { diskSource, FILES_MEMBERS } from './disk-source.ts';
import { dnsLabel, objectName } from './kubernetes.ts';
import { bytesBetween } from './quantity.ts';
import {
  atomicList,
  described,
  distinct,
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
    '(!has(self.size) || !has(oldSelf.size) || !isQuantity(self.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0)',
    ...fields.flatMap((field) => [
      `has(self.${field}) == has(oldSelf.${field})`,
      `(!has(self.${field}) || self.${field} == oldSelf.${field})`,
    ]),
  ].join(' && ');
}

/** What a claim cannot change. */
const FIXED = ['storageClassName', 'accessModes', 'volumeMode'] as const;
const FIXED_MESSAGE =
  'a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; add a disk with another name instead';

const claimTemplate = transition(
  z.strictObject({
    size: described(
      'Size of the claim, such as 10Gi. Absent, for a disk from an image: enough for the disk in the image.',
      bytesBetween('1Mi', '1024Ti', 'the size of the claim'),
    ).optional(),
    storageClassName,
    accessModes,
    volumeMode: described('Filesystem (absent) or Block.', z.enum(['Filesystem', 'Block'])).optional(),
    reclaimPolicy: reclaimPolicy.optional(),
  }),
  keeps(...FIXED),
  FIXED_MESSAGE,
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

const IS_BLANK = 'has(self.source) && has(self.source.blank)';
const IS_IMAGE = 'has(self.source) && has(self.source.image)';
const IS_CDROM = "has(self.device) && self.device == 'cdrom'";
/** CEL: the launcher makes the disk of files. */
const IS_FILES = `has(self.source) && (${FILES_MEMBERS.map((each) => `has(self.source.${each})`).join(' || ')})`;
const isFiles = (source: Record<string, unknown> | undefined): boolean =>
  FILES_MEMBERS.some((each) => source?.[each] !== undefined);
/** CEL: name of the claim that is there already, or nothing. */
const namedClaim = (disk: string) =>
  `(!has(${disk}.source) ? '' : has(${disk}.source.claim) ? ${disk}.source.claim.name : has(${disk}.source.ephemeral) && has(${disk}.source.ephemeral.claim) ? ${disk}.source.ephemeral.claim.name : '')`;
/** Buses whose hard disks QEMU only has where the guest may write. */
const ALWAYS_WRITABLE: readonly unknown[] = ['sata', 'ide'];

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
  `(has(${disk}.source) && has(${disk}.source.image) && !(has(${disk}.device) && ${disk}.device == 'cdrom'))`;

/** CEL: a claim that comes or goes as a member says nothing of what cannot be changed. */
export const keepsIn = (fields: readonly string[]): string => {
  const says = (object: string) =>
    `(has(${object}.claim) && (${fields.map((field) => `has(${object}.claim.${field})`).join(' || ')}))`;
  return `has(self.claim) == has(oldSelf.claim) || !${says('self')} && !${says('oldSelf')}`;
};

const diskMembers = transition(
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
      shareable: described(
        'Other VMs that say the same may write to the claim at the same time. Their guests must know how to: a cluster file system, or a quorum disk.',
        z.boolean(),
      ).optional(),
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
        cel: `!(${IS_BLANK}) || has(self.claim) && has(self.claim.size)`,
        message: 'a blank disk needs claim: {size: 10Gi}, the claim to make for it',
        at: '.claim',
        holds: ({ source, claim }) => source?.blank === undefined || claim?.size !== undefined,
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
        cel: `!has(self.claim) && (!(${IS_IMAGE}) || (${IS_CDROM})) || self.name != 'state'`,
        message:
          'a disk with a claim of its own cannot have the name state: its claim would have the name of the state claim',
        at: '.name',
        holds: ({ claim, source, device, name }) =>
          (claim === undefined && (source?.image === undefined || device === 'cdrom')) || name !== 'state',
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
        cel: `!has(self.shareable) || !self.shareable || !(${IS_CDROM}) && has(self.source) && (has(self.source.claim) || has(self.source.blank)) && (!has(self.cache) || self.cache == 'none')`,
        message:
          'a shareable disk is a raw one past the page cache: give it source.claim or source.blank, and leave cache out',
        at: '.shareable',
        holds: ({ shareable, device, source, cache = 'none' }) =>
          shareable !== true ||
          (device !== 'cdrom' &&
            (source?.claim !== undefined || source?.blank !== undefined) &&
            cache === 'none'),
      },
      {
        cel: "!has(self.source) || !has(self.source.sysprep) || has(self.device) && self.device == 'cdrom'",
        message: "answer files need device: cdrom; Windows' Setup looks for them on removable media",
        at: '.device',
        holds: ({ source, device }) => source?.sysprep === undefined || device === 'cdrom',
      },
      {
        cel: `(${IS_CDROM}) || !((${IS_FILES}) || has(self.readOnly) && self.readOnly) || !has(self.bus) || !(self.bus in ['sata', 'ide'])`,
        message:
          'a sata or ide disk cannot be read-only, as files from a ConfigMap or Secret are; make it a cdrom, or take another bus',
        at: '.bus',
        holds: ({ device, source, readOnly, bus }) =>
          device === 'cdrom' || !(isFiles(source) || readOnly === true) || !ALWAYS_WRITABLE.includes(bus),
      },
      {
        cel: `!(${IS_CDROM}) || !has(self.source) || !has(self.source.ephemeral)`,
        message:
          'a cdrom is only read; give it source.claim or source.image in the place of source.ephemeral',
        at: '.source',
        holds: ({ device, source }) => device !== 'cdrom' || source?.ephemeral === undefined,
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

const disk = transition(
  diskMembers,
  `!${fromImage('self')} || !${fromImage('oldSelf')} || ${keepsIn(FIXED)}`,
  FIXED_MESSAGE,
);

export const disks = rules(listMap(disk, 'name', 32), [
  {
    cel: 'self.all(a, !has(a.bootOrder) || self.exists_one(b, has(b.bootOrder) && a.bootOrder == b.bootOrder))',
    message: 'two disks have the same bootOrder; give each its own number, or leave it out',
    holds: (list) => distinct(list.flatMap((each) => each.bootOrder ?? [])),
  },
  {
    cel: `self.all(a, ${namedClaim('a')} == '' || self.exists_one(b, ${namedClaim('a')} == ${namedClaim('b')}))`,
    message: 'two disks name the same claim; a claim holds one disk',
    holds: (list) =>
      distinct(list.flatMap(({ source }) => source?.claim?.name ?? source?.ephemeral?.claim?.name ?? [])),
  },
]);
