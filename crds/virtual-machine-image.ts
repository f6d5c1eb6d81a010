/** VirtualMachineImage: a disk image that is brought into a claim once, checked, and then only read. */
import * as z from 'zod';
import { API_VERSION } from './api.ts';
import { keepsIn } from './disk.ts';
import { containerDiskFields } from './disk-source.ts';
import { condition, dnsLabel, objectMeta, objectName } from './kubernetes.ts';
import { bytesBetween } from './quantity.ts';
import {
  atomicList,
  described,
  exactlyOne,
  integer,
  listMap,
  matching,
  rules,
  text,
  transition,
} from './schema.ts';

const httpUrl = (what: string) =>
  matching(
    /^https?:\/\/[A-Za-z0-9._~:[\]-]+(\/[A-Za-z0-9._~:/?#[\]@!$&()*+,;=%-]*)?$/,
    2048,
    `must be the http or https URL of ${what}, without a user name or password in it`,
  );

const checksum = matching(
  /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/,
  135,
  'must be sha256: or sha512: with the checksum in lower-case hexadecimal digits behind it',
);

const http = rules(
  z.strictObject({
    url: described('Where the image is.', httpUrl('the image')),
    checksum: described('Checksum of the file at the URL, as it is there.', checksum).optional(),
    checksumURL: described(
      'Where its checksum is: a list such as SHA256SUMS, or a file with the checksum alone.',
      httpUrl('the checksum'),
    ).optional(),
    secretRef: described(
      'Secret of this namespace for the server, which only the kubelet reads: username and password, or headers with a line "Name: value" for each; proxyUsername and proxyPassword for the proxy.',
      z.strictObject({ name: described('Name of the Secret.', objectName()) }),
    ).optional(),
    caConfigMapRef: described(
      "ConfigMap of this namespace whose keys have the server's certificate authorities, in PEM.",
      z.strictObject({ name: described('Name of the ConfigMap.', objectName()) }),
    ).optional(),
    proxy: described('HTTP proxy to go through.', httpUrl('the proxy')).optional(),
    allowPrivateAddresses: described(
      'The server may have a private, link-local or loopback address, such as that of a Service.',
      z.boolean(),
    ).optional(),
  }),
  [
    {
      cel: '!has(self.checksum) || !has(self.checksumURL)',
      message: 'must not have both checksum and checksumURL; take one away',
      holds: (value) => value.checksum === undefined || value.checksumURL === undefined,
    },
  ],
);

const imageSource = exactlyOne(
  z.strictObject({
    http: described('A file on a web server.', http).optional(),
    containerImage: described(
      'A disk in an OCI image, pulled by the kubelet.',
      z.strictObject({
        ...containerDiskFields,
      }),
    ).optional(),
    claim: described(
      'A disk in a PersistentVolumeClaim of this namespace, which is only read. A filesystem must hold it as disk.img, or as its only file.',
      z.strictObject({ name: described('Name of the PersistentVolumeClaim.', objectName()) }),
    ).optional(),
    snapshot: described(
      'A disk as a VirtualMachineSnapshot of this namespace has it, whether its VM runs or not: for templates and clones.',
      z.strictObject({
        name: described('Name of the VirtualMachineSnapshot.', objectName()),
        disk: described('Name of the disk. Absent: the only one of the snapshot.', dnsLabel(30)).optional(),
      }),
    ).optional(),
    upload: described(
      'A file that kubectl vm image upload sends.',
      z.strictObject({
        checksum: described('Checksum of the file that is sent.', checksum).optional(),
      }),
    ).optional(),
    blank: described('An empty disk as large as the claim.', z.strictObject({})).optional(),
  }),
  ['http', 'containerImage', 'claim', 'snapshot', 'upload', 'blank'],
  'must have exactly one of http, containerImage, claim, snapshot, upload or blank',
);

const FIXED = ['storageClassName', 'accessModes', 'volumeMode'] as const;
const FIXED_MESSAGE =
  'a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; make an image with another name instead';

const imageClaim = transition(
  z.strictObject({
    size: described(
      'Size of the claim, such as 10Gi: at least that of the image file, unpacked. Absent: what the source says that the image needs, and the tables of a file system.',
      bytesBetween('1Mi', '1024Ti', 'the size of the claim'),
    ).optional(),
    storageClassName: described("Storage class. Absent: the cluster's default.", objectName()).optional(),
    accessModes: described(
      'How many may mount it. Absent: ReadWriteOnce, which serves the VMs of one node.',
      atomicList(z.enum(['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany']), 3, 1),
    ).optional(),
    volumeMode: described('Filesystem (absent) or Block.', z.enum(['Filesystem', 'Block'])).optional(),
    reclaimPolicy: described(
      'Delete (absent): the claim goes with the image, as soon as no VM needs it any more. Retain: it stays, and an image of the same name and source takes it over.',
      z.enum(['Retain', 'Delete']),
    ).optional(),
  }),
  [
    '(!has(self.size) || !has(oldSelf.size) || !isQuantity(self.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0)',
    ...FIXED.flatMap((field) => [
      `has(self.${field}) == has(oldSelf.${field})`,
      `(!has(self.${field}) || self.${field} == oldSelf.${field})`,
    ]),
  ].join(' && '),
  FIXED_MESSAGE,
);

const virtualMachineImageSpec = transition(
  rules(
    z.strictObject({
      source: described(
        'Where the image comes from: exactly one member. It cannot be changed.',
        transition(
          imageSource,
          'self == oldSelf',
          'the source of an image cannot be changed; make an image with another name, and let new VMs use that one',
        ),
      ),
      claim: described('The claim to make for the image.', imageClaim).optional(),
    }),
    [
      {
        cel: '!has(self.source.blank) || has(self.claim) && has(self.claim.size)',
        message: 'a blank image needs claim: {size: 10Gi}, which is as large as its disk',
        at: '.claim',
        holds: ({ source, claim }) => source.blank === undefined || claim?.size !== undefined,
      },
    ],
  ),
  keepsIn(FIXED),
  FIXED_MESSAGE,
);

const time = (description: string) => described(description, z.string().meta({ format: 'date-time' }));
const words = (description: string) => described(description, text(1024));
const count = (description: string) => described(description, integer(0, Number.MAX_SAFE_INTEGER));

export const imagePhase = z.enum(['Pending', 'Importing', 'Ready', 'Failed']);

const imageProgress = z.strictObject({
  transferredBytes: count('Bytes read from the source so far.'),
  totalBytes: count('Bytes of the source, where it says so.').optional(),
  percent: words('Part that is done, such as 42%.').optional(),
  bytesPerSecond: count('Speed of the last seconds.').optional(),
  eta: time('When it will be done at this speed.').optional(),
});

const virtualMachineImageStatus = z.strictObject({
  observedGeneration: described('Generation of the spec that this status is about.', z.int()).optional(),
  phase: described('For the column; conditions are for logic.', imagePhase).optional(),
  conditions: described('What holds and why: Ready.', listMap(condition, 'type', 8)).optional(),
  claimName: words('The claim that holds the image.').optional(),
  format: words('Format of the image: raw, qcow2, vmdk, vdi, vpc or vhdx.').optional(),
  virtualSize: words('Size of the disk that a guest sees.').optional(),
  actualSize: words('Room that the image takes in its claim.').optional(),
  sha256: words('SHA-256 checksum of the image as it is stored.').optional(),
  importedAt: time('When the image was complete.').optional(),
  progress: described('How far the import is.', imageProgress).optional(),
  attempts: count('Times that the import was begun.').optional(),
  podName: words('The pod that brings the image in.').optional(),
  lastError: words('Why the last attempt failed.').optional(),
});

const MAX_NAME = 50;

export const virtualMachineImage = rules(
  z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal('VirtualMachineImage'),
    metadata: objectMeta,
    spec: described(
      'What the image is and where it is kept. Only its owner writes it.',
      virtualMachineImageSpec,
    ),
    status: described(
      'What the image is. Only the operator writes it.',
      virtualMachineImageStatus,
    ).optional(),
  }),
  [
    {
      cel: `self.metadata.name.size() <= ${MAX_NAME} && !self.metadata.name.contains('.')`,
      message: `the name of a VirtualMachineImage must have at most ${MAX_NAME} characters and no dot: it is part of the names of its pod and claim`,
      at: '.metadata.name',
      holds: (image) => image.metadata.name.length <= MAX_NAME && !image.metadata.name.includes('.'),
    },
  ],
);

export type VirtualMachineImage = z.infer<typeof virtualMachineImage>;
export type VirtualMachineImageStatus = z.infer<typeof virtualMachineImageStatus>;
export type ImageSource = VirtualMachineImage['spec']['source'];
