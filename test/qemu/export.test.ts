/** Disks of a guest that goes on writing, read by the helper that `kubectl vm export` runs in the pod. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatOf } from '../../cli/export/formats/formats.ts';
import { PartFile } from '../../cli/export/part.ts';
import { receiveBegin, receiveRecords } from '../../cli/export/receive.ts';
import { BrokenOffError, ByteQueue } from '../../crds/byte-queue.ts';
import { EXPORT_DONE, type ExportBegin, type ExportRequest } from '../../crds/export.ts';
import { docker } from '../../images/docker.ts';
import { judge, parseAcknowledgements, readRing } from '../guests/sectors.ts';
import { TestOperator } from './support/channel.ts';
import { isolate, release } from './support/isolated.ts';
import { fileDisk, Launcher, machine, tinyGuest } from './support/launcher.ts';

const NETWORK = `vmstead-export-${process.pid}`;
const MINUTE = 60_000;
const PATTERN_MIB = 2;

let folder: string;
let operator: TestOperator;
let launcher: Launcher;

beforeAll(async () => {
  const place = await isolate(NETWORK);
  folder = place.folder;
  const etc = join(folder, 'operator');
  await mkdir(etc);
  operator = await TestOperator.start(place.gateway, etc);
  const { address, serverName, caCertificate } = operator;
  const writer = 'vmstead.sectors=serial:data vmstead.sectors.slots=64 vmstead.sectors.report=20';
  const description = machine(writer, {
    disks: [fileDisk('data'), fileDisk('more')],
    channel: { addresses: [address], serverName, caCertificate },
  });
  launcher = await Launcher.start(description, {
    guest: await tinyGuest(),
    docker: [`--network=${NETWORK}`],
    env: { VMSTEAD_EXPORT_ROOM_MIB: '4' },
    prepare: (to) => copyFile(join(etc, 'token'), join(to, 'token')),
  });
  await launcher.guestSays(/VMSTEAD-SECTOR/, 1, 120);
}, 4 * MINUTE);
afterAll(async () => {
  await launcher?.[Symbol.asyncDispose]();
  await operator?.[Symbol.asyncDispose]();
  await release(NETWORK, folder);
}, MINUTE);

/** One run of the helper, as exec gives it. */
class Helper implements Disposable {
  readonly bytes: ByteQueue;
  private readonly child: ChildProcessWithoutNullStreams;

  constructor(request: ExportRequest) {
    const program = ['/usr/lib/vmstead/export', JSON.stringify(request)];
    this.child = spawn('docker', ['exec', '--interactive', launcher.container, ...program]);
    const { stdout, stderr } = this.child;
    this.bytes = new ByteQueue({ pause: () => stdout.pause(), resume: () => stdout.resume() });
    let said = '';
    stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    stdout.on('data', (chunk: Buffer) => this.bytes.push(chunk));
    this.child.on('close', () => this.bytes.end(`the helper ended: ${said}`));
  }

  /** Says that all of it is here, and waits until that was heard. */
  async done(): Promise<void> {
    const closed = once(this.child, 'close');
    this.child.stdin.write(`${EXPORT_DONE}\n`);
    await closed;
  }

  [Symbol.dispose](): void {
    this.child.stdin.end();
    this.child.kill('SIGKILL');
  }
}

/**
 * Writes a disk to a file. `meanwhile`: a first helper takes the moment and is cut off, and this is awaited before a
 * second one reads anything, so that everything read was overwritten before if the guest did so.
 */
async function exportTo(
  file: string,
  request: ExportRequest,
  meanwhile?: (begin: ExportBegin) => Promise<void>,
): Promise<string> {
  let asked = request;
  if (meanwhile !== undefined) {
    using first = new Helper(request);
    const begin = await receiveBegin(first.bytes);
    asked = { ...request, id: begin.id, from: 0 };
    first[Symbol.dispose]();
    await meanwhile(begin);
  }
  const output = join(folder, file);
  const identity = { vm: 'u', snapshot: request.snapshot, disk: request.disk, format: formatOf(file)! };
  const part = await PartFile.open(output, identity);
  using helper = new Helper(asked);
  try {
    part.start(await receiveBegin(helper.bytes));
    await receiveRecords(helper.bytes, part, () => {});
    await helper.done();
    await part.finish();
    return output;
  } finally {
    await part.close();
  }
}

/** As exportTo, once nothing else is in its way. */
async function exportWhenFree(...given: Parameters<typeof exportTo>): Promise<string> {
  for (const deadline = Date.now() + MINUTE; ; ) {
    try {
      return await exportTo(...given);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ExportWaits' || Date.now() > deadline) throw error;
      await new Promise((go) => setTimeout(go, 500));
    }
  }
}

async function rawOf(path: string): Promise<string> {
  const volume = `${folder}:/d`;
  const name = path.slice(folder.length + 1);
  await docker([
    ...['run', '--rm', '--network=none', '--user=0', '--volume', volume, '--entrypoint=qemu-img'],
    ...['vmstead/qemu:dev', 'convert', '-f', formatOf(path)!, '-O', 'raw', `/d/${name}`, `/d/${name}.raw`],
  ]);
  return `${path}.raw`;
}

let typed = 0;
/** Runs a line in the guest and waits for what it answers. */
async function guest(line: string): Promise<string> {
  const mark = `DID${++typed}`;
  await launcher.typeIntoConsole(`${line}; echo ${mark.slice(0, 3)}""${mark.slice(3)}=$(cat /tmp/said)=`);
  const [found] = await launcher.guestSays(new RegExp(`${mark}=(.*)=`), 1, 120);
  return found![1]!.trim();
}

/** Fills the beginning of disk `more` and returns its checksum. */
async function pattern(mib: number): Promise<string> {
  const fill = `dd if=/dev/urandom of=/dev/vdb bs=1M count=${mib} conv=fsync 2>/dev/null`;
  return (await guest(`${fill}; head -c ${PATTERN_MIB * 1024 * 1024} /dev/vdb | sha256sum >/tmp/said`)).split(
    ' ',
  )[0]!;
}

async function checksumOf(image: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  const raw = await readFile(await rawOf(image));
  return createHash('sha256')
    .update(raw.subarray(0, PATTERN_MIB * 1024 * 1024))
    .digest('hex');
}

/** Nothing of an export is left, in QEMU or on the node. */
async function nothingLeft(): Promise<void> {
  await expect
    .poll(() => launcher.sh('ls /var/lib/vmstead; grep -c \'"export"\' /run/vmstead/life.json || true'), {
      timeout: MINUTE,
    })
    .toBe('serial.log\n0\n');
}

const writes = () => parseAcknowledgements(launcher.heard.guest);

test('the disk is as it was at one moment, while the guest overwrites all of it', {
  timeout: 4 * MINUTE,
}, async () => {
  await expect.poll(() => operator.report?.state, { timeout: MINUTE }).toBe('Running');
  const before = writes();
  let later = 0n;
  const image = await exportTo('data.qcow2', { disk: 'data' }, async (begin) => {
    expect(begin).toMatchObject({ disk: 'data', consistency: 'Crash', bytes: 64 * 1024 * 1024 });
    const taken = writes().at(-1)!.position;
    // All of the ring anew, more than once, and a snapshot that has to wait meanwhile.
    await expect.poll(() => writes().at(-1)!.position, { timeout: 90_000 }).toBeGreaterThan(taken + 160n);
    later = writes().at(-1)!.position;
    const take = { uid: 's0', name: 's0', memory: false, quiesce: 'Never', deadlineSeconds: 60 } as const;
    expect((await operator.snapshot('0', { take })).error?.code).toBe('SnapshotWaits');
  });
  const ring = await readRing(await rawOf(image));
  expect(judge(ring, before)).toEqual([]);
  expect(ring.records.at(-1)!.position).toBeLessThan(later - 64n);
  await nothingLeft();
  const last = writes().at(-1)!.position;
  await expect.poll(() => writes().at(-1)!.position, { timeout: MINUTE }).toBeGreaterThan(last + 40n);
});

test('what a connection that broke off was about is there for the next one', {
  timeout: 4 * MINUTE,
}, async () => {
  const sum = await pattern(PATTERN_MIB);
  const image = await exportTo('more.vmdk', { disk: 'more' }, async () => {
    expect(await pattern(PATTERN_MIB)).not.toBe(sum);
  });
  expect(await checksumOf(image)).toBe(sum);
  await nothingLeft();
});

test('a guest that overwrites too much loses the export, and nothing else', {
  timeout: 4 * MINUTE,
}, async () => {
  await pattern(24);
  const overwrite = exportTo('lost.raw', { disk: 'more' }, async () => void (await pattern(24)));
  await expect(overwrite).rejects.toMatchObject({ code: 'ExportLost' });
  await expect.poll(() => operator.report?.state, { timeout: MINUTE }).toBe('Running');
  expect(launcher.heard.launcher).not.toContain('a disk stopped the guest');
});

test('a snapshot is exported as it was, also by another launcher', { timeout: 4 * MINUTE }, async () => {
  const sum = await pattern(PATTERN_MIB);
  const take = { uid: 's1', name: 'first', memory: false, quiesce: 'Never', deadlineSeconds: 60 } as const;
  // What was lost a moment ago is kept for those who would go on with it; a new export ends it.
  await exportWhenFree('small.raw', { disk: 'data' });
  await nothingLeft();
  expect(await operator.snapshot('1', { take })).toEqual({ error: undefined });
  await pattern(PATTERN_MIB);
  using helper = new Helper({ disk: 'more', snapshot: 'first' });
  const { id } = await receiveBegin(helper.bytes);
  await launcher.kill('node');
  await expect(
    (async () => {
      for (;;) await helper.bytes.take(1);
    })(),
  ).rejects.toThrow(BrokenOffError);
  await expect.poll(() => operator.hellos.length, { timeout: MINUTE }).toBeGreaterThan(1);
  const image = await exportWhenFree('first.vhdx', { disk: 'more', snapshot: 'first', id, from: 0 });
  expect(await checksumOf(image)).toBe(sum);
  await nothingLeft();
  await expect(exportTo('x.raw', { disk: 'data', id: 'long-gone' })).rejects.toMatchObject({
    code: 'ExportLost',
  });
  await expect(exportTo('x.raw', {})).rejects.toThrow(/data, more/);
  await expect(exportTo('x.raw', { disk: 'data', snapshot: 'none' })).rejects.toThrow(/first/);
});
