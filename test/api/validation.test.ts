/** What the API server says to mistakes, word for word: the person who made one reads exactly this. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../operator/kube/errors.ts';
import type { KubeObject } from '../../operator/kube/object.ts';
import { define } from '../../operator/kube/resources.ts';
import { type ServerWithCrds, startServerWithCrds } from './support/crds.ts';
import { vms, vmWith } from './support/virtual-machines.ts';

const operations = define<KubeObject & { readonly spec: object }>(
  'vmstead.io/v1alpha1',
  'VirtualMachineOperation',
  'virtualmachineoperations',
);

let cluster: ServerWithCrds;
beforeAll(async () => {
  cluster = await startServerWithCrds();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** One line for each mistake that the API server names. */
async function refusal(request: Promise<unknown>): Promise<string> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const causes = error.details?.causes?.map(({ field, message }) => `${field}: ${message}`);
    return (causes ?? [error.statusMessage]).join('\n');
  }
  return 'accepted';
}

const checked = { dryRun: true, strict: true };
const create = (spec: object, name?: string) =>
  refusal(cluster.client.create(vms, vmWith(spec, name), checked));
const disk = (fields: object) => create({ disks: [{ name: 'root', source: { blank: {} }, ...fields }] });
const network = (fields: object) => create({ networks: [{ name: 'default', pod: {}, ...fields }] });

async function change(name: string, from: object, to: object): Promise<string> {
  const stored = await cluster.client.create(vms, vmWith(from, name));
  const { metadata } = stored;
  return refusal(
    cluster.client.replace(vms, { metadata, spec: { ...stored.spec, ...to } } as typeof stored, checked),
  );
}

describe('names', () => {
  it('has room for the names of pods and claims', async () => {
    expect(await create({}, 'a'.repeat(50))).toBe('accepted');
    expect(await create({}, 'a'.repeat(51))).toMatchInlineSnapshot(
      `"metadata.name: Invalid value: the name of a VirtualMachine must have at most 50 characters and no dot: it is part of the names of its pod and claims"`,
    );
    expect(await create({}, 'web.example')).toMatchInlineSnapshot(
      `"metadata.name: Invalid value: the name of a VirtualMachine must have at most 50 characters and no dot: it is part of the names of its pod and claims"`,
    );
  });
});

describe('fields that are not there', () => {
  it('refuses unknown fields', async () => {
    expect(await create({ running: true })).toMatchInlineSnapshot(
      `"VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: unknown field "spec.running""`,
    );
    expect(await disk({ claim: { size: '1Gi', pvc: 'x' } })).toMatchInlineSnapshot(
      `"VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: unknown field "spec.disks[0].claim.pvc""`,
    );
  });
  it('refuses what is missing', async () => {
    expect(await create({ memory: undefined })).toMatchInlineSnapshot(`
      "spec.memory: Required value
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
    expect(await create({ disks: undefined })).toMatchInlineSnapshot(
      `"spec.disks: Invalid value: a VM needs something to boot: at least one entry in disks, or kernel"`,
    );
    expect(await create({ disks: [] })).toMatchInlineSnapshot(
      `"spec.disks: Invalid value: a VM needs something to boot: at least one entry in disks, or kernel"`,
    );
  });
});

describe('sizes', () => {
  it.each(['16Mi', '0.5Gi', '1Gi', '536870912', '16Ti', '1.000000001Gi', '1000M'])(
    'takes %s',
    async (size) => {
      expect(await create({ memory: { size } })).toBe('accepted');
    },
  );
  it('refuses what is no size', async () => {
    expect(await create({ memory: { size: '' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "": must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi"`,
    );
    expect(await create({ memory: { size: '1e3' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "1e3": must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi"`,
    );
    expect(await create({ memory: { size: '2 GiB' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "2 GiB": must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi"`,
    );
    expect(await create({ memory: { size: '-1Gi' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "-1Gi": must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi"`,
    );
    expect(await create({ memory: { size: 1073741824 } })).toMatchInlineSnapshot(`
      "spec.memory.size: Invalid value: "integer": spec.memory.size in body must be of type string: "integer"
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
    expect(await create({ memory: { size: null } })).toMatchInlineSnapshot(`
      "spec.memory.size: Required value
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
  });
  it('refuses zero and absurd sizes', async () => {
    expect(await create({ memory: { size: '0' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "0": memory must be between 16Mi and 16Ti"`,
    );
    expect(await create({ memory: { size: '512' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "512": memory must be between 16Mi and 16Ti"`,
    );
    expect(await create({ memory: { size: '17Ti' } })).toMatchInlineSnapshot(
      `"spec.memory.size: Invalid value: "17Ti": memory must be between 16Mi and 16Ti"`,
    );
    expect(await disk({ claim: { size: '0Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].claim.size: Invalid value: "0Gi": the size of the claim must be between 1Mi and 1024Ti"`,
    );
    expect(await disk({ claim: { size: '2000Ti' } })).toMatchInlineSnapshot(
      `"spec.disks[0].claim.size: Invalid value: "2000Ti": the size of the claim must be between 1Mi and 1024Ti"`,
    );
    expect(await create({ state: { size: '1Mi' } })).toMatchInlineSnapshot(
      `"spec.state.size: Invalid value: "1Mi": the size of the state claim must be between 8Mi and 16Ti"`,
    );
  });
  it('refuses CPUs that no machine has', async () => {
    expect(await create({ cpu: { cores: 0 } })).toMatchInlineSnapshot(
      `"spec.cpu.cores: Invalid value: 0: spec.cpu.cores in body should be greater than or equal to 1"`,
    );
    expect(await create({ cpu: { cores: 1.5 } })).toMatchInlineSnapshot(`
      "spec.cpu.cores: Invalid value: "float64": spec.cpu.cores in body must be of type int64: "float64"
      <nil>: Invalid value: "": Checked value must be of type integer with format int64 in spec.cpu.cores
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
    expect(await create({ cpu: { sockets: 4, cores: 64, threads: 2 } })).toMatchInlineSnapshot(
      `"spec.cpu: Invalid value: sockets × cores × threads must be at most 256"`,
    );
  });
});

describe('disks', () => {
  it('need one source', async () => {
    expect(await disk({ source: {} })).toMatchInlineSnapshot(
      `"spec.disks[0].source: Invalid value: must have exactly one of claim, blank, image, containerImage, ephemeral, configMap, secret, downwardAPI or sysprep"`,
    );
    expect(
      await disk({ source: { blank: {}, claim: { name: 'x' } }, claim: { size: '1Gi' } }),
    ).toMatchInlineSnapshot(
      `"spec.disks[0].source: Invalid value: must have exactly one of claim, blank, image, containerImage, ephemeral, configMap, secret, downwardAPI or sysprep"`,
    );
    expect(await disk({ source: { image: { name: 'debian' } } })).toBe('accepted');
    expect(await disk({ source: { image: { name: 'debian' } }, claim: {} })).toBe('accepted');
  });
  it('need a claim block where, and only where, Vmstead makes the claim', async () => {
    expect(await disk({})).toMatchInlineSnapshot(
      `"spec.disks[0].claim: Invalid value: a blank disk needs claim: {size: 10Gi}, the claim to make for it"`,
    );
    expect(await disk({ source: { claim: { name: 'x' } }, claim: { size: '1Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].claim: Invalid value: claim goes with source.blank, and with source.image of a disk; take it away: an existing claim keeps its own size and class, and a container image or a cdrom needs none"`,
    );
  });
  it('must differ', async () => {
    const other = { name: 'other', source: { claim: { name: 'other' } } };
    const root = { name: 'root', source: { claim: { name: 'root' } } };
    expect(await create({ disks: [root, { ...other, name: 'root' }] })).toMatchInlineSnapshot(
      `"spec.disks[1]: Duplicate value: {"name":"root"}"`,
    );
    expect(
      await create({
        disks: [
          { ...root, bootOrder: 1 },
          { ...other, bootOrder: 1 },
        ],
      }),
    ).toMatchInlineSnapshot(
      `"spec.disks: Invalid value: two disks have the same bootOrder; give each its own number, or leave it out"`,
    );
    expect(await create({ disks: [root, { ...other, source: root.source }] })).toMatchInlineSnapshot(
      `"spec.disks: Invalid value: two disks name the same claim; a claim holds one disk"`,
    );
  });
  it('have names of their own', async () => {
    expect(await disk({ name: 'Root', claim: { size: '1Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].name: Invalid value: "Root": must be lower-case letters, digits and hyphens, with a letter or digit at both ends"`,
    );
    expect(await disk({ name: 'state', claim: { size: '1Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].name: Invalid value: a disk with a claim of its own cannot have the name state: its claim would have the name of the state claim"`,
    );
    expect(await disk({ serial: 'a b', claim: { size: '1Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].serial: Invalid value: "a b": must be 1 to 20 letters, digits, dots, hyphens or underscores"`,
    );
  });
  it('are no cdrom where that cannot be', async () => {
    expect(await disk({ device: 'cdrom', claim: { size: '1Gi' } })).toMatchInlineSnapshot(
      `"spec.disks[0].source: Invalid value: a cdrom cannot be blank; give it source.claim, source.image or source.containerImage"`,
    );
    const source = { claim: { name: 'iso' } };
    expect(await disk({ device: 'cdrom', bus: 'virtio', source })).toMatchInlineSnapshot(
      `"spec.disks[0].bus: Invalid value: there is no virtio or nvme cdrom; leave bus out, or make it sata, scsi, ide or usb"`,
    );
    expect(await disk({ device: 'floppy', source })).toMatchInlineSnapshot(`
      "spec.disks[0].device: Unsupported value: "floppy": supported values: "disk", "cdrom"
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
  });
  it('name files of an image without tricks', async () => {
    const path = (value: string) => disk({ source: { containerImage: { image: 'debian:12', path: value } } });
    expect(await path('/disk/disk.qcow2')).toBe('accepted');
    expect(await path('/../etc/shadow')).toMatchInlineSnapshot(
      `"spec.disks[0].source.containerImage.path: Invalid value: "/../etc/shadow": must be the absolute path of the disk in the image, without .. or special characters"`,
    );
    expect(await path('/disk/a,readonly=off')).toMatchInlineSnapshot(
      `"spec.disks[0].source.containerImage.path: Invalid value: "/disk/a,readonly=off": must be the absolute path of the disk in the image, without .. or special characters"`,
    );
    expect(await disk({ source: { containerImage: { image: ' debian' } } })).toMatchInlineSnapshot(
      `"spec.disks[0].source.containerImage.image: Invalid value: " debian": must be an image reference such as registry.example/debian:12"`,
    );
  });
});

describe('networks', () => {
  it('refuses ports that are none, and two of one', async () => {
    const port = { name: 'http', port: 80 };
    expect(await network({ ports: [{ ...port, port: 0 }] })).toMatchInlineSnapshot(
      `"spec.networks[0].ports[0].port: Invalid value: 0: spec.networks[0].ports[0].port in body should be greater than or equal to 1"`,
    );
    expect(await network({ ports: [{ ...port, port: 65536 }] })).toMatchInlineSnapshot(
      `"spec.networks[0].ports[0].port: Invalid value: 65536: spec.networks[0].ports[0].port in body should be less than or equal to 65535"`,
    );
    expect(await network({ ports: [port, { ...port, port: 81 }] })).toMatchInlineSnapshot(
      `"spec.networks[0].ports[1]: Duplicate value: {"name":"http"}"`,
    );
    expect(
      await network({ ports: [port, { name: 'again', port: 80, protocol: 'TCP' }] }),
    ).toMatchInlineSnapshot(
      `"spec.networks[0].ports: Invalid value: two ports have the same port and protocol; list each once"`,
    );
    expect(await network({ ports: [port, { name: 'quic', port: 80, protocol: 'UDP' }] })).toBe('accepted');
  });
  it('refuses a MAC address that is none', async () => {
    expect(await network({ macAddress: '02:00:00:00:00:01' })).toBe('accepted');
    expect(await network({ macAddress: '03:00:00:00:00:01' })).toMatchInlineSnapshot(
      `"spec.networks[0].macAddress: Invalid value: "03:00:00:00:00:01": must be a unicast MAC address in lower case, such as 02:00:5e:00:53:01"`,
    );
    expect(await network({ macAddress: '02-00-00-00-00-01' })).toMatchInlineSnapshot(
      `"spec.networks[0].macAddress: Invalid value: "02-00-00-00-00-01": must be a unicast MAC address in lower case, such as 02:00:5e:00:53:01"`,
    );
  });
  it('refuses two of one', async () => {
    const a = { name: 'a', pod: {}, macAddress: '02:00:00:00:00:01' };
    expect(await create({ networks: [a, { ...a, name: 'b' }] })).toMatchInlineSnapshot(`
      "spec.networks: Invalid value: only one network can be the pod network; take the others away
      spec.networks: Invalid value: two networks have the same macAddress; give each its own, or leave it out"
    `);
    expect(await create({ networks: [{ name: 'a' }] })).toMatchInlineSnapshot(
      `"spec.networks[0]: Invalid value: needs pod: {}, the only kind of network so far"`,
    );
  });
});

describe('the rest', () => {
  it('needs a claim for UEFI', async () => {
    expect(await create({ firmware: { type: 'UEFI' } })).toMatchInlineSnapshot(
      `"spec.state: Invalid value: firmware.type UEFI needs state: {size: 64Mi}, a claim in which its variables are kept"`,
    );
    expect(await create({ firmware: { type: 'UEFI' }, state: { size: '64Mi' } })).toBe('accepted');
  });
  it('takes user data from one place', async () => {
    expect(await create({ cloudInit: {} })).toMatchInlineSnapshot(
      `"spec.cloudInit: Invalid value: must have exactly one of userData and userDataSecretRef"`,
    );
    const userDataSecretRef = { name: 'web' };
    expect(await create({ cloudInit: { userData: '', userDataSecretRef } })).toMatchInlineSnapshot(
      `"spec.cloudInit: Invalid value: must have exactly one of userData and userDataSecretRef"`,
    );
    expect(
      await create({
        cloudInit: { userDataSecretRef, networkData: '', networkDataSecretRef: userDataSecretRef },
      }),
    ).toMatchInlineSnapshot(
      `"spec.cloudInit: Invalid value: must not have both networkData and networkDataSecretRef; take one away"`,
    );
  });
  it('refuses words that are none', async () => {
    expect(await create({ runStrategy: 'always' })).toMatchInlineSnapshot(`
      "spec.runStrategy: Unsupported value: "always": supported values: "Always", "RerunOnFailure", "Once", "Manual", "Halted"
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
    expect(await create({ machine: { type: 'pc' } })).toMatchInlineSnapshot(
      `"spec.machine.type: Invalid value: "pc": must be q35 or a versioned q35 such as pc-q35-10.0"`,
    );
    expect(await create({ cpu: { model: 'host,+svm' } })).toMatchInlineSnapshot(
      `"spec.cpu.model: Invalid value: "host,+svm": must be a CPU model as QEMU names it, such as host or EPYC-Rome"`,
    );
    expect(await create({ firmware: { uuid: 'X' } })).toMatchInlineSnapshot(
      `"spec.firmware.uuid: Invalid value: "X": must be a UUID in lower case, such as 6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10"`,
    );
  });
  it('refuses resources that contradict each other', async () => {
    expect(
      await create({ resources: { requests: { memory: '3Gi' }, limits: { memory: '2Gi' } } }),
    ).toMatchInlineSnapshot(
      `"spec.resources.requests.memory: Invalid value: requests.memory must not be more than limits.memory"`,
    );
    expect(
      await create({ resources: { requests: { cpu: '1500m' }, limits: { cpu: '1' } } }),
    ).toMatchInlineSnapshot(
      `"spec.resources.requests.cpu: Invalid value: requests.cpu must not be more than limits.cpu"`,
    );
    expect(await create({ resources: { limits: { memory: '1Gi' } } })).toMatchInlineSnapshot(
      `"spec.resources.limits.memory: Invalid value: resources.limits.memory must be more than memory.size: QEMU itself needs memory too; better leave it out"`,
    );
    expect(await create({ resources: { limits: { cpu: 'one' } } })).toMatchInlineSnapshot(
      `"spec.resources.limits.cpu: Invalid value: "one": must be an amount of CPU such as 2, 0.5 or 250m"`,
    );
  });
  it('refuses labels that no pod can have', async () => {
    expect(await create({ pod: { labels: { 'a b': 'x' } } })).toMatchInlineSnapshot(
      `"spec.pod.labels: Invalid value: the key of a label must be a name such as tier or example.com/tier: at most 63 letters, digits, dots, hyphens and underscores behind the prefix"`,
    );
    expect(await create({ pod: { labels: { tier: 'a b' } } })).toMatchInlineSnapshot(
      `"spec.pod.labels: Invalid value: the value of a label must be letters, digits, dots, hyphens and underscores, with a letter or digit at both ends, or empty"`,
    );
    expect(await create({ pod: { annotations: { 'a b': 'x' } } })).toMatchInlineSnapshot(
      `"spec.pod.annotations: Invalid value: the key of an annotation must be a name such as tier or example.com/tier: at most 63 letters, digits, dots, hyphens and underscores behind the prefix"`,
    );
  });
});

describe('changes', () => {
  const blank = { name: 'data', source: { blank: {} }, claim: { size: '1Gi', volumeMode: 'Block' } };
  it.each([
    ['a claim grows', { claim: { size: '2Gi', volumeMode: 'Block' } }],
    ['the reclaim policy changes', { claim: { size: '1Gi', volumeMode: 'Block', reclaimPolicy: 'Delete' } }],
    ['a boot order comes', { bootOrder: 1 }],
  ])('are taken where %s', async (what, fields) => {
    const name = `ok-${what.replaceAll(' ', '-')}`;
    expect(await change(name, { disks: [blank] }, { disks: [{ ...blank, ...fields }] })).toBe('accepted');
  });
  it('are refused where a claim would have to be made anew', async () => {
    const claims = { small: { size: '1Mi', volumeMode: 'Block' }, mode: { size: '1Gi' } };
    for (const [name, claim] of Object.entries(claims)) {
      expect(await change(`claim-${name}`, { disks: [blank] }, { disks: [{ ...blank, claim }] })).toBe(
        'spec.disks[0].claim: Invalid value: a claim cannot shrink, nor change its storageClassName, accessModes or volumeMode; add a disk with another name instead',
      );
    }
  });
  it('are refused where data would be left behind', async () => {
    const { claim: _, ...rest } = blank;
    expect(
      await change('source', { disks: [blank] }, { disks: [{ ...rest, source: { claim: { name: 'x' } } }] }),
    ).toMatchInlineSnapshot(
      `"spec.disks[0]: Invalid value: a disk cannot become blank or made from an image, nor cease to be it: its claim has its data; add a disk with another name instead"`,
    );
  });
  it('are refused where the variables of UEFI would be lost', async () => {
    expect(
      await change('state', { state: { size: '64Mi' } }, { state: { size: '32Mi' } }),
    ).toMatchInlineSnapshot(
      `"spec.state: Invalid value: the state claim cannot shrink, nor change its storageClassName or accessModes; take state away, delete the claim and put state back to begin with an empty one"`,
    );
  });
});

describe('operations', () => {
  const operation = (spec: object) => ({
    metadata: { namespace: 'default', name: 'op' },
    spec: { virtualMachine: 'web', type: 'Stop', ...spec },
  });
  const make = (spec: object) => refusal(cluster.client.create(operations, operation(spec), checked));
  it('are refused where they make no sense', async () => {
    expect(await make({ force: true })).toBe('accepted');
    expect(await make({ type: 'Pause', force: true })).toMatchInlineSnapshot(
      `"spec.force: Invalid value: force goes with type Stop or Restart only; take it away"`,
    );
    expect(await make({ type: 'Shutdown' })).toMatchInlineSnapshot(`
      "spec.type: Unsupported value: "Shutdown": supported values: "Start", "Stop", "Restart", "Reset", "Pause", "Resume"
      <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
    expect(await make({ virtualMachine: '' })).toMatchInlineSnapshot(
      `"spec.virtualMachine: Invalid value: "": must be lower-case letters, digits and hyphens, with a letter or digit at both ends"`,
    );
    expect(await make({ ttlSecondsAfterFinished: -1 })).toMatchInlineSnapshot(
      `"spec.ttlSecondsAfterFinished: Invalid value: -1: spec.ttlSecondsAfterFinished in body should be greater than or equal to 0"`,
    );
  });
  it('cannot be changed', async () => {
    const { metadata } = await cluster.client.create(operations, operation({}));
    expect(
      await refusal(
        cluster.client.replace(operations, { ...operation({ type: 'Start' }), metadata }, checked),
      ),
    ).toMatchInlineSnapshot(`"spec: Invalid value: an operation cannot be changed; make another one"`);
  });
});
