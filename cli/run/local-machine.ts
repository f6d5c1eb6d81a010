/** The manifest's machine as the operator describes it, with this machine's paths in the place of the pod's. */
import { existsSync, mkdirSync } from 'node:fs';
import { resolve as absolute, join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { type MachineDescription, type MachineDisk, POD_PATH } from '../../crds/machine-description.ts';
import { parseBytes } from '../../crds/quantity.ts';
import type { VirtualMachine } from '../../crds/virtual-machine.ts';
import { resolveInside } from '../../launcher/disks/inside.ts';
import { describeMachine } from '../../operator/virtual-machine/machine.ts';
import { resolve } from '../../operator/virtual-machine/resolve.ts';
import type { RunArguments } from './arguments.ts';
import { brokenFeatures, chooseMachineType, kvmWorks, machineTypes } from './host.ts';
import { imageFolder } from './image.ts';

/** Ports that only root may take are moved up by so much. */
const UNPRIVILEGED_OFFSET = 10_000;

/** What a manifest without a namespace and a cluster without one give its identity. */
const NAMESPACE = 'default';

export interface LocalMachine {
  description: MachineDescription;
  forwardFrom: { address: string; ports: ReadonlyMap<number, number> };
}

/** Unpacks images below `directory`; throws VmsteadError for what the flags do not name. */
export async function localMachine(
  vm: VirtualMachine,
  given: RunArguments,
  directory: string,
): Promise<LocalMachine> {
  const { spec, metadata } = vm;
  const identity = { namespace: metadata.namespace ?? NAMESPACE, name: metadata.name ?? 'vm' };
  const types = await machineTypes();
  const machineType = chooseMachineType(spec.machine?.type, types);
  const accelerator = await chooseAccelerator(spec.acceleration);
  const resolved = resolve(
    identity,
    { ...spec, machine: { type: machineType } },
    { machineType },
    accelerator,
    machineType,
  );
  const claims = new Map(
    (spec.disks ?? []).flatMap(({ name, source, claim }) =>
      source === undefined || source.containerImage
        ? []
        : [
            [
              name,
              { volumeMode: 'Filesystem' as const, bytes: claim ? Number(parseBytes(claim.size ?? '0')) : 0 },
            ] as const,
          ],
    ),
  );
  const described = describeMachine({
    ...identity,
    uid: `run-${identity.name}`,
    incarnation: 1,
    spec,
    resolved,
    claims,
    channel: undefined,
  });
  const { metricsPort: _, ...description } = described;
  const without = accelerator === 'tcg' ? brokenFeatures(types) : [];
  if (without.length > 0) description.cpu = { ...description.cpu, without };
  description.disks = await Promise.all(
    description.disks.map((disk) => localDisk(vm, disk, given, directory)),
  );
  if (description.kernel !== undefined) {
    const root = await image(spec.kernel?.image ?? '', given, join(directory, 'kernel'));
    const local = (path: string) => resolveInside(root, path.slice(POD_PATH.kernel.length));
    const { path, initrd, ...rest } = description.kernel;
    description.kernel = {
      ...rest,
      path: local(path),
      ...(initrd === undefined ? {} : { initrd: local(initrd) }),
    };
  }
  if (description.firmware.type === 'UEFI') {
    description.firmware = { type: 'UEFI', variables: join(directory, 'uefi-variables.fd') };
  }
  localSecrets(vm, description, given);
  return { description, forwardFrom: { address: '127.0.0.1', ports: localPorts(description, given) } };
}

async function chooseAccelerator(asked: 'Auto' | 'KVM' | 'Emulation' | undefined): Promise<'kvm' | 'tcg'> {
  if (asked === 'Emulation') return 'tcg';
  if (await kvmWorks()) return 'kvm';
  if (asked !== 'KVM') return 'tcg';
  throw new VmsteadError(
    'Usage',
    'spec.acceleration asks for KVM: /dev/kvm is missing here, may not be opened by you, or only interprets; Auto would use emulation',
  );
}

/** Unpacked once, also when a kernel and a disk name the same image. */
async function image(reference: string, given: RunArguments, into: string): Promise<string> {
  return await imageFolder(reference, given.images.get(reference), into);
}

async function localDisk(
  vm: VirtualMachine,
  disk: MachineDisk,
  given: RunArguments,
  directory: string,
): Promise<MachineDisk> {
  const file = given.disks.get(disk.name);
  if (file !== undefined) {
    const path = absolute(file);
    if (!existsSync(path)) throw new VmsteadError('Usage', `--disk ${disk.name}: there is no ${path}`);
    return { ...disk, backend: { type: 'file', path, format: path.endsWith('.qcow2') ? 'qcow2' : 'raw' } };
  }
  const { backend } = disk;
  if (backend === undefined) return disk;
  const source = vm.spec.disks?.find(({ name }) => name === disk.name)?.source;
  if (backend.type === 'image') {
    const root = await image(
      source?.containerImage?.image ?? '',
      given,
      join(directory, 'images', disk.name),
    );
    const overlay = { ...backend.overlay, path: join(directory, `${disk.name}.qcow2`) };
    return { ...disk, backend: { ...backend, directory: root, overlay } };
  }
  if (backend.type === 'file' && backend.create !== undefined) {
    const folder = join(directory, 'disks', disk.name);
    mkdirSync(folder, { recursive: true });
    return { ...disk, backend: { ...backend, path: join(folder, 'disk.img') } };
  }
  throw new VmsteadError(
    'Usage',
    `disk ${disk.name} is in the claim ${source?.claim?.name}: give its file with --disk ${disk.name}=FILE`,
  );
}

function localSecrets(vm: VirtualMachine, description: MachineDescription, given: RunArguments): void {
  const { cloudInit } = description;
  if (cloudInit === undefined) return;
  const file = (name: string | undefined) => {
    const path = given.secrets.get(name ?? '');
    if (path === undefined) {
      throw new VmsteadError(
        'Usage',
        `cloudInit uses the Secret ${name}: give its content with --secret ${name}=FILE`,
      );
    }
    return { file: absolute(path) };
  };
  const refs = vm.spec.cloudInit;
  if ('file' in cloudInit.userData) cloudInit.userData = file(refs?.userDataSecretRef?.name);
  if (cloudInit.networkData !== undefined && 'file' in cloudInit.networkData) {
    cloudInit.networkData = file(refs?.networkDataSecretRef?.name);
  }
}

function localPorts({ networks }: MachineDescription, given: RunArguments): Map<number, number> {
  const ports = networks.flatMap((network) => network.ports.map(({ port }) => port));
  const privileged = process.getuid?.() !== 0;
  return new Map(
    ports.map((port) => [
      port,
      given.ports.get(port) ?? (privileged && port < 1024 ? port + UNPRIVILEGED_OFFSET : port),
    ]),
  );
}
