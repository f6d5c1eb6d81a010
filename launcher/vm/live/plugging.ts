/**
 * Disks that come and go while the machine runs. They are exported by NBD from a pod beside this one: what QEMU
 * has is compared with what is wanted, and taken one step on each time, so that it does not matter where a
 * launcher before this one stopped.
 */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ATTACHMENT_USER } from '../../../crds/attachment.ts';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { diskNode, pluggedDisk } from '../../machine/disks.ts';
import type { QmpClient } from '../../qmp/client.ts';
import { QmpClosedError } from '../../qmp/errors.ts';
import type { Vm } from '../vm.ts';
import { driveId } from './qdev.ts';

type Attached = MachineDisk & { backend: { type: 'attached'; address: string; export: string } };

/** Seconds that a request waits for an exporter that has gone; then QEMU pauses the guest, and nothing is lost. */
const RECONNECT_SECONDS = 10;
/** Seconds that a first connection is tried. */
const OPEN_SECONDS = 5;

export class Plugging {
  private readonly vm: Vm;

  constructor(vm: Vm) {
    this.vm = vm;
  }

  /** Each exporter has a key of its own: one that comes later is for the exporter that comes with it. */
  learn(keys: Readonly<Record<string, string>>): void {
    const { life } = this.vm.options;
    const attached = { ...life.record.attached };
    for (const [name, key] of Object.entries(keys)) attached[name] = { ...attached[name], key };
    life.change({ attached });
  }

  /** Takes every attached disk a step on; returns what stands in the way of which. */
  async bring(qmp: QmpClient, disks: readonly MachineDisk[]): Promise<Map<string, string>> {
    const problems = new Map<string, string>();
    const attached = disks.flatMap((disk, index) => (isAttached(disk) ? [{ disk, index }] : []));
    if (attached.length === 0) return problems;
    const listed = async (path: string) => (await qmp.execute('qom-list', { path })).map(({ name }) => name);
    const devices = await listed('/machine/peripheral');
    const objects = await listed('/objects');
    const drives = await qmp.execute('query-block');
    const nodes = (await qmp.execute('query-named-block-nodes', { flat: true })).flatMap(
      (node) => node['node-name'] ?? [],
    );
    for (const { disk, index } of attached) {
      const has: Has = {
        device: devices.includes(`disk-${disk.name}`),
        drive: drives.find(({ qdev }) => qdev === driveId(disk))?.inserted?.['node-name'],
        nodes: nodes.filter((node) => isNodeOf(node, index)),
        keys: objects.filter((object) => isKeyOf(object, disk)),
      };
      try {
        const waits = disk.unplugged
          ? await this.unplug(qmp, disk, has)
          : await this.plug(qmp, disk, index, has);
        if (waits !== undefined) problems.set(disk.name, waits);
      } catch (error) {
        if (error instanceof QmpClosedError) throw error;
        problems.set(disk.name, (error as Error).message);
      }
    }
    return problems;
  }

  private async plug(qmp: QmpClient, disk: Attached, index: number, has: Has): Promise<string | undefined> {
    const node = nodeOf(disk, index);
    if (has.device && has.drive === node) {
      await this.tidy(qmp, has, node, keyOf(disk));
      return undefined;
    }
    const { life, log } = this.vm.options;
    const known = life.record.attached?.[disk.name];
    if (known === undefined) return 'its key has not come yet';
    const port = known.port ?? this.freePort();
    if (port === undefined) return 'the machine has no empty port left; it has one after its next start';
    life.change({ attached: { ...life.record.attached, [disk.name]: { ...known, port } } });
    await this.open(qmp, disk, node, known.key, has);
    if (has.device) {
      // Another exporter in the place of one that has ended: the guest keeps its device and what it was told of it.
      const path = `/machine/peripheral/disk-${disk.name}`;
      await qmp.execute('qom-set', { path, property: 'drive', value: node }, { timeout: 30_000 });
      log.info({ disk: disk.name, address: disk.backend.address }, 'disk goes on through another pod');
      await this.tidy(qmp, has, node, keyOf(disk));
      return undefined;
    }
    await qmp.execute('device_add', pluggedDisk(disk, node, port));
    log.info({ disk: disk.name, address: disk.backend.address }, 'disk plugged in');
    return undefined;
  }

  private async open(qmp: QmpClient, disk: Attached, node: string, key: string, has: Has): Promise<void> {
    if (has.nodes.includes(node)) return;
    const id = keyOf(disk);
    // QEMU read the file when it made the object, which may have been another key.
    if (has.keys.includes(id)) await qmp.execute('object-del', { id });
    const dir = this.keyDirectory(disk);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const file = join(dir, 'keys.psk');
    writeFileSync(file, `${ATTACHMENT_USER}:${key}\n`, { mode: 0o600 });
    chmodSync(file, 0o600);
    const credentials = {
      'qom-type': 'tls-creds-psk',
      id,
      endpoint: 'client',
      dir,
      username: ATTACHMENT_USER,
    };
    await qmp.execute('object-add', credentials);
    await qmp.execute('blockdev-add', nbdNode(disk, node), { timeout: 30_000 });
  }

  /** Lets go of exporters that are not used any more. */
  private async tidy(qmp: QmpClient, has: Has, node: string, key: string): Promise<void> {
    for (const each of has.nodes) {
      if (each !== node) await qmp.execute('blockdev-del', { 'node-name': each });
    }
    for (const id of has.keys) {
      if (id !== key) await qmp.execute('object-del', { id });
    }
  }

  private async unplug(qmp: QmpClient, disk: Attached, has: Has): Promise<string | undefined> {
    const { life, log } = this.vm.options;
    if (has.device) {
      // The guest lets go of it in its own time, and DEVICE_DELETED tells. While it thinks, QEMU refuses to ask again.
      await qmp.execute('device_del', { id: `disk-${disk.name}` }).catch((error: unknown) => {
        if (error instanceof QmpClosedError) throw error;
      });
      return 'the guest was asked to let go of it and has not yet: unmount it there';
    }
    await this.tidy(qmp, has, '', '');
    rmSync(this.keyDirectory(disk), { recursive: true, force: true });
    if (life.record.attached?.[disk.name] !== undefined) {
      const { [disk.name]: _, ...rest } = life.record.attached;
      life.change({ attached: rest });
      log.info({ disk: disk.name }, 'disk unplugged');
    }
    return undefined;
  }

  private freePort(): number | undefined {
    const { description, life } = this.vm.options;
    const taken = new Set(Object.values(life.record.attached ?? {}).map(({ port }) => port));
    return Array.from({ length: description.hotplugPorts }, (_, port) => port).find(
      (port) => !taken.has(port),
    );
  }

  private keyDirectory({ name }: MachineDisk): string {
    return join(this.vm.options.paths.runDirectory, `attached-${name}`);
  }
}

/** What QEMU has of a disk already. */
interface Has {
  device: boolean;
  /** The node that the device hangs on. */
  drive: string | undefined;
  /** One for each exporter that it was given. */
  nodes: string[];
  keys: string[];
}

const isAttached = (disk: MachineDisk): disk is Attached => disk.backend?.type === 'attached';

/** One exporter of a disk, for names: it is another one after its pod was replaced. */
const markOf = ({ backend }: Attached): string =>
  createHash('sha256').update(`${backend.export} ${backend.address}`).digest('hex').slice(0, 8);

const nodeOf = (disk: Attached, index: number): string => `${diskNode(index)}-${markOf(disk)}`;
const isNodeOf = (node: string, index: number): boolean =>
  new RegExp(`^${diskNode(index)}-[0-9a-f]{8}$`).test(node);
const keyOf = (disk: Attached): string => `key-${disk.name}-${markOf(disk)}`;
const isKeyOf = (object: string, { name }: MachineDisk): boolean =>
  object.slice(0, -8) === `key-${name}-` && /[0-9a-f]{8}$/.test(object);

function nbdNode(disk: Attached, node: string) {
  const { backend, readOnly } = disk;
  const colon = backend.address.lastIndexOf(':');
  return {
    driver: 'nbd',
    'node-name': node,
    server: { type: 'inet', host: backend.address.slice(0, colon), port: backend.address.slice(colon + 1) },
    export: backend.export,
    'tls-creds': keyOf(disk),
    'read-only': readOnly,
    'reconnect-delay': RECONNECT_SECONDS,
    'open-timeout': OPEN_SECONDS,
    discard: 'unmap',
    'detect-zeroes': readOnly ? 'off' : 'unmap',
  };
}
