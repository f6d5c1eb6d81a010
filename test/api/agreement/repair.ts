/** Makes a random VirtualMachine's members fit each other, so that it is right as a whole. */

import { parsedBytes, parsedCpu } from '../../../crds/quantity.ts';
import type { Json } from './specs.ts';

// biome-ignore lint/suspicious/noExplicitAny: a random object, half made
type Loose = any;

/** @param target path that must stay */
export function repairVirtualMachine(vm: Json, target: string): Json {
  const spec = (vm as Loose).spec as Loose;
  const { cpu } = spec;
  if (cpu && (cpu.sockets ?? 1) * (cpu.cores ?? 1) * (cpu.threads ?? 1) > 256) {
    for (const [index, member] of ['sockets', 'cores', 'threads'].entries()) {
      if (member in cpu) cpu[member] = Math.min(cpu[member], [8, 8, 4][index]!);
    }
  }
  repairDisks(spec, target);
  repairNetworks(spec, target);
  if (spec.firmware?.type === 'UEFI') spec.state ??= { size: '64Mi' };
  if (!spec.kernel && !spec.disks?.length) {
    spec.disks = [{ name: 'root', source: { claim: { name: 'root' } } }];
  }
  if (spec.cloudInit) repairCloudInit(spec.cloudInit, target);
  if (spec.resources) repairResources(spec);
  return vm;
}

/** @param target path that must stay */
export function repairImage(image: Json, target: string): Json {
  const spec = (image as Loose).spec as Loose;
  const { source } = spec;
  const members = ['http', 'containerImage', 'claim', 'snapshot', 'upload', 'blank'];
  keepOne(source, members, target, '.spec.source', { blank: {} });
  const { http } = source;
  if (http?.checksum && http.checksumURL) {
    delete http[target === '.spec.source.http.checksum' ? 'checksumURL' : 'checksum'];
  }
  if (source.blank) {
    spec.claim ??= {};
    spec.claim.size ??= '1Gi';
  }
  return image;
}

/** Whether a path is that of a member or below it; one member's name may begin like another's. */
function isAt(target: string, path: string): boolean {
  return target === path || target.startsWith(`${path}.`);
}

function keepOne(
  object: Loose,
  members: readonly string[],
  target: string,
  path: string,
  fallback: Loose,
): void {
  const wanted = members.find((member) => isAt(target, `${path}.${member}`));
  const kept = wanted ?? members.find((member) => member in object);
  for (const member of members) if (member !== kept) delete object[member];
  if (kept === undefined) Object.assign(object, fallback);
}

function repairDisks(spec: Loose, target: string): void {
  const orders = new Set<number>();
  const claims = new Set<string>();
  spec.disks = spec.disks?.filter((disk: Loose) => {
    const makes = target.startsWith('.spec.disks[].claim') || target === '.spec.disks[].preallocate';
    if (disk.device !== 'cdrom' || makes) disk.source ??= { blank: {} };
    const source = disk.source ?? {};
    if (makes) {
      for (const member of Object.keys(source)) delete source[member];
      source.blank = {};
    }
    if (disk.source) repairSource(disk, source, target);
    if (source.blank || (source.image && disk.device !== 'cdrom')) {
      if (source.blank) disk.claim ??= {};
      if (source.blank) disk.claim.size ??= '1Gi';
      if (disk.device === 'cdrom') disk.device = 'disk';
      if (disk.name === 'state') disk.name = 'data';
    } else delete disk.claim;
    repairManner(disk, target);
    while (orders.has(disk.bootOrder)) disk.bootOrder = (disk.bootOrder % 1000) + 1;
    if (disk.bootOrder !== undefined) orders.add(disk.bootOrder);
    const claim: string | undefined = source.claim?.name ?? source.ephemeral?.claim?.name;
    if (claim !== undefined && claims.has(claim)) return false;
    if (claim !== undefined) claims.add(claim);
    return true;
  });
  if (spec.disks === undefined) delete spec.disks;
}

const SOURCES = [
  'claim',
  'blank',
  'image',
  'containerImage',
  'ephemeral',
  'configMap',
  'secret',
  'downwardAPI',
  'sysprep',
];

function repairSource(disk: Loose, source: Loose, target: string): void {
  const at = '.spec.disks[].source';
  keepOne(source, SOURCES, target, at, { blank: {} });
  if (source.ephemeral) {
    keepOne(source.ephemeral, ['claim', 'image'], target, `${at}.ephemeral`, { image: { name: 'a' } });
    disk.device = 'disk';
  }
  if (source.sysprep) {
    keepOne(source.sysprep, ['configMap', 'secret'], target, `${at}.sysprep`, { secret: { name: 'a' } });
    disk.device = 'cdrom';
  }
  if (target === '.spec.disks[].shareable' && !source.claim) {
    for (const member of Object.keys(source)) delete source[member];
    source.claim = { name: 'shared' };
    disk.device = 'disk';
  }
}

function repairManner(disk: Loose, target: string): void {
  if (!disk.source?.blank) delete disk.preallocate;
  if (isAt(target, '.spec.disks[].limits') && disk.device === 'cdrom') {
    disk.device = 'disk';
    disk.source ??= { claim: { name: 'other' } };
  }
  if (disk.device === 'cdrom') delete disk.limits;
  if (target === '.spec.disks[].shareable') delete disk.cache;
  const shares = disk.source?.claim || disk.source?.blank;
  if (disk.device === 'cdrom' || !shares || (disk.cache ?? 'none') !== 'none') delete disk.shareable;
  const { configMap, secret, downwardAPI } = disk.source ?? {};
  const onlyRead = disk.readOnly || configMap || secret || downwardAPI;
  if (disk.device !== 'cdrom' && onlyRead && ['sata', 'ide'].includes(disk.bus)) disk.bus = 'usb';
  if (disk.device === 'cdrom' && ['virtio', 'nvme'].includes(disk.bus)) disk.bus = 'sata';
  if (disk.aio === 'native' && (disk.cache ?? 'none') !== 'none')
    delete disk[target === '.spec.disks[].aio' ? 'cache' : 'aio'];
  for (const [total, ...parts] of [
    ['iops', 'readIops', 'writeIops'],
    ['bandwidth', 'readBandwidth', 'writeBandwidth'],
  ] as const) {
    const { limits = {} } = disk;
    if (!(total in limits)) continue;
    if (parts.some((part) => target === `.spec.disks[].limits.${part}`)) delete limits[total];
    else for (const part of parts) delete limits[part];
  }
}

function repairNetworks(spec: Loose, target: string): void {
  if (spec.networks === undefined) return;
  spec.networks = spec.networks.slice(0, 1);
  for (const network of spec.networks) {
    network.pod ??= {};
    const seen = new Set<string>();
    network.ports = network.ports?.filter((port: Loose) => {
      const key = `${port.port}/${port.protocol ?? 'TCP'}`;
      return !seen.has(key) && seen.add(key);
    });
    if (network.ports === undefined) delete network.ports;
  }
  if (spec.networks.length === 0 && !target.startsWith('.spec.networks')) delete spec.networks;
}

function repairCloudInit(cloudInit: Loose, target: string): void {
  keepOne(cloudInit, ['userData', 'userDataSecretRef'], target, '.spec.cloudInit', { userData: '' });
  const other = isAt(target, '.spec.cloudInit.networkData');
  if ('networkData' in cloudInit && 'networkDataSecretRef' in cloudInit) {
    delete cloudInit[other ? 'networkDataSecretRef' : 'networkData'];
  }
}

function repairResources(spec: Loose): void {
  const { requests = {}, limits = {} } = spec.resources;
  const guest = parsedBytes(spec.memory.size)!;
  const limit = parsedBytes(limits.memory);
  if (limit !== undefined && limit <= guest) limits.memory = '32Ti';
  if ((parsedBytes(requests.memory) ?? 0n) > (parsedBytes(limits.memory) ?? 2n ** 99n))
    requests.memory = '16Mi';
  if ((parsedCpu(requests.cpu) ?? 0) > (parsedCpu(limits.cpu) ?? Number.POSITIVE_INFINITY))
    requests.cpu = limits.cpu;
}
