/**
 * Disks that come and go while the machine runs. They are exported by NBD from a pod beside this one: what QEMU
 * has is compared with what is wanted, and taken one step on each time, so that it does not matter where a
 * launcher before this one stopped.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineDisk } from '../../../crds/machine-description.ts';
import { diskNode, pluggedDisk } from '../../machine/disks.ts';
import type { QmpClient } from '../../qmp/client.ts';
import { QmpClosedError } from '../../qmp/errors.ts';
import type { Vm } from '../vm.ts';

type Attached = MachineDisk & { backend: { type: 'attached'; address: string; export: string } };

/** Name under which both ends know their key. */
const USER = 'vmstead';
/** Seconds that a request waits for an exporter that has gone; then QEMU pauses the guest, and nothing is lost. */
const RECONNECT_SECONDS = 10;
/** Seconds that a first connection is tried. */
const OPEN_SECONDS = 5;

export class Plugging {
  private readonly vm: Vm;

  constructor(vm: Vm) {
    this.vm = vm;
  }

  /** The first key of an attachment is its only one. */
  learn(keys: Readonly<Record<string, string>>): void {
    const { life } = this.vm.options;
    const attached = { ...life.record.attached };
    for (const [name, key] of Object.entries(keys)) attached[name] ??= { key };
    life.change({ attached });
  }

  /** Takes every attached disk a step on; returns what stands in the way of which. */
  async bring(qmp: QmpClient, disks: readonly MachineDisk[]): Promise<Map<string, string>> {
    const problems = new Map<string, string>();
    const attached = disks.flatMap((disk, index) => (isAttached(disk) ? [{ disk, index }] : []));
    if (attached.length === 0) return problems;
    const listed = async (path: string) =>
      new Set((await qmp.execute('qom-list', { path })).map(({ name }) => name));
    const devices = await listed('/machine/peripheral');
    const objects = await listed('/objects');
    const nodes = new Set(
      (await qmp.execute('query-named-block-nodes', { flat: true })).map((node) => node['node-name']),
    );
    for (const { disk, index } of attached) {
      const has = {
        device: devices.has(`disk-${disk.name}`),
        node: nodes.has(diskNode(index)),
        key: objects.has(keyId(disk)),
      };
      try {
        const waits = disk.unplugged
          ? await this.unplug(qmp, disk, index, has)
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
    if (has.device) return undefined;
    const { life, log } = this.vm.options;
    const known = life.record.attached?.[disk.name];
    if (known === undefined) return 'its key has not come yet';
    const port = known.port ?? this.freePort();
    if (port === undefined) return 'the machine has no empty port left; it has one after its next start';
    const attached = { ...life.record.attached, [disk.name]: { ...known, port } };
    life.change({ attached });
    if (!has.key) {
      const dir = this.keyDirectory(disk);
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      const file = join(dir, 'keys.psk');
      writeFileSync(file, `${USER}:${known.key}\n`, { mode: 0o600 });
      chmodSync(file, 0o600);
      const id = keyId(disk);
      await qmp.execute('object-add', {
        'qom-type': 'tls-creds-psk',
        id,
        endpoint: 'client',
        dir,
        username: USER,
      });
    }
    if (!has.node) await qmp.execute('blockdev-add', nbdNode(disk, index), { timeout: 30_000 });
    await qmp.execute('device_add', pluggedDisk(disk, diskNode(index), port));
    log.info({ disk: disk.name, address: disk.backend.address }, 'disk plugged in');
    return undefined;
  }

  private async unplug(qmp: QmpClient, disk: Attached, index: number, has: Has): Promise<string | undefined> {
    const { life, log } = this.vm.options;
    if (has.device) {
      // The guest lets go of it in its own time, and DEVICE_DELETED tells.
      await qmp.execute('device_del', { id: `disk-${disk.name}` });
      return 'the guest was asked to let go of it';
    }
    if (has.node) await qmp.execute('blockdev-del', { 'node-name': diskNode(index) });
    if (has.key) await qmp.execute('object-del', { id: keyId(disk) });
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
  node: boolean;
  key: boolean;
}

const isAttached = (disk: MachineDisk): disk is Attached => disk.backend?.type === 'attached';

const keyId = ({ name }: MachineDisk): string => `key-${name}`;

function nbdNode({ backend, readOnly, name }: Attached, index: number) {
  const colon = backend.address.lastIndexOf(':');
  return {
    driver: 'nbd',
    'node-name': diskNode(index),
    server: { type: 'inet', host: backend.address.slice(0, colon), port: backend.address.slice(colon + 1) },
    export: backend.export,
    'tls-creds': `key-${name}`,
    'read-only': readOnly,
    'reconnect-delay': RECONNECT_SECONDS,
    'open-timeout': OPEN_SECONDS,
    discard: 'unmap',
    'detect-zeroes': readOnly ? 'off' : 'unmap',
  };
}
