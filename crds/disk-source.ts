/** Where a disk's data come from: exactly one member. The names are those that KubeVirt's volumes have, where there are such. */
import * as z from 'zod';
import { containerImageFields, dnsLabel, objectName } from './kubernetes.ts';
import { bytesBetween } from './quantity.ts';
import { atomicList, described, exactlyOne, matching } from './schema.ts';

export const pathInImage = (what: string) =>
  matching(
    /^\/([A-Za-z0-9_+-][A-Za-z0-9._+-]*\/)*[A-Za-z0-9_+-][A-Za-z0-9._+-]*$/,
    255,
    `must be the absolute path of ${what} in the image, without .. or special characters`,
  );

/** A disk in an OCI image, as VMs and images name it. */
export const containerDiskFields = {
  ...containerImageFields,
  path: described(
    'Path of the disk in the image. Absent: the only file in /disk.',
    pathInImage('the disk'),
  ).optional(),
};

const overlaySize = described(
  'Most that the guest may write before its disk is full. Absent: 1Gi.',
  bytesBetween('1Mi', '16Ti', 'overlaySize'),
).optional();

const claimRef = z.strictObject({ name: described('Name of the PersistentVolumeClaim.', objectName()) });
const imageName = described('Name of the VirtualMachineImage.', dnsLabel(50));

const volumeLabel = described(
  'Label of the file system that the guest sees, such as cidata or OEMDRV. Absent: cfgdata.',
  matching(/^[A-Za-z0-9_-]{1,16}$/, 16, 'must be 1 to 16 letters, digits, hyphens or underscores'),
).optional();
const optional = (what: string) =>
  described(
    `Start also without the ${what}, with an empty disk. Absent: wait for it.`,
    z.boolean(),
  ).optional();

const configMapName = described('Name of the ConfigMap.', objectName());
const secretName = described('Name of the Secret.', objectName());

const ephemeral = exactlyOne(
  z.strictObject({
    claim: described(
      'A PersistentVolumeClaim of this namespace, which is only read. A filesystem must hold the disk as disk.img (raw).',
      claimRef,
    ).optional(),
    image: described(
      'A VirtualMachineImage of this namespace.',
      z.strictObject({ name: imageName }),
    ).optional(),
    overlaySize,
  }),
  ['claim', 'image'],
  'must have either claim or image',
);

const downwardField = z.strictObject({
  path: described(
    'Name of the file.',
    matching(
      /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/,
      100,
      'must be the name of a file: letters, digits, dots, hyphens and underscores, without a dot in front',
    ),
  ),
  fieldRef: described(
    'The field.',
    z.strictObject({
      fieldPath: described(
        "metadata.name, metadata.namespace, metadata.uid, metadata.labels, metadata.annotations, or one of the last two, such as metadata.labels['tier'].",
        matching(
          // \x27 is the apostrophe: without it the rule is a raw string, which people can read.
          /^metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\[\x27[A-Za-z0-9][A-Za-z0-9._/-]*\x27\])$/,
          340,
          "must be metadata.name, .namespace, .uid, .labels or .annotations, or one of these such as metadata.labels['tier']",
        ),
      ),
    }),
  ),
});

const sysprep = exactlyOne(
  z.strictObject({
    configMap: described(
      'A ConfigMap with the key autounattend.xml or unattend.xml.',
      z.strictObject({ name: configMapName }),
    ).optional(),
    secret: described('A Secret with such a key.', z.strictObject({ name: secretName })).optional(),
  }),
  ['configMap', 'secret'],
  'must have either configMap or secret',
);

const MEMBERS = [
  'claim',
  'blank',
  'image',
  'containerImage',
  'ephemeral',
  'configMap',
  'secret',
  'downwardAPI',
  'sysprep',
] as const;

/** Members whose files the launcher makes a disk of, which is only read. */
export const FILES_MEMBERS = ['configMap', 'secret', 'downwardAPI', 'sysprep'] as const;

export const diskSource = exactlyOne(
  z.strictObject({
    claim: described(
      'A PersistentVolumeClaim of this namespace that is there already. A filesystem must hold the disk as disk.img (raw).',
      claimRef,
    ).optional(),
    blank: described(
      'An empty disk in a claim that Vmstead makes once and never empties again.',
      z.strictObject({}),
    ).optional(),
    image: described(
      'A VirtualMachineImage of this namespace. A disk begins as its copy, in a claim that Vmstead makes once; a cdrom is the image itself.',
      z.strictObject({
        name: imageName,
        clone: described(
          'Full (absent): the disk starts at once on top of the image, and is made independent of it while the VM runs. Linked: it stays on top of the image, and takes only the room of what the guest writes.',
          z.enum(['Linked', 'Full']),
        ).optional(),
      }),
    ).optional(),
    containerImage: described(
      'A disk in an OCI image, mounted as an image volume. What the guest writes goes to an overlay that is thrown away with the pod.',
      z.strictObject({
        ...containerDiskFields,
        overlaySize,
      }),
    ).optional(),
    ephemeral: described(
      'A claim or an image that is only read. What the guest writes goes to an overlay that is thrown away with the pod.',
      ephemeral,
    ).optional(),
    configMap: described(
      'The keys of a ConfigMap as files, as they are when the VM starts.',
      z.strictObject({ name: configMapName, optional: optional('ConfigMap'), volumeLabel }),
    ).optional(),
    secret: described(
      'The keys of a Secret as files, as they are when the VM starts. The operator does not read it.',
      z.strictObject({ secretName, optional: optional('Secret'), volumeLabel }),
    ).optional(),
    downwardAPI: described(
      "Fields of the VM's pod as files, as they are when the VM starts. The pod has the labels of the VM.",
      z.strictObject({ fields: described('The files.', atomicList(downwardField, 16, 1)), volumeLabel }),
    ).optional(),
    sysprep: described(
      "Answer files for Windows' Setup and Sysprep, on a CD-ROM with the label unattendCD.",
      sysprep,
    ).optional(),
  }),
  MEMBERS,
  'must have exactly one of claim, blank, image, containerImage, ephemeral, configMap, secret, downwardAPI or sysprep',
);
