/** Sends a file of this machine into a VirtualMachineImage: through the API server's port-forward, nothing else is open. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { claimSizeFor } from '../../crds/claim-size.ts';
import { VmsteadError } from '../../crds/errors.ts';
import { UPLOAD_HEADER, UPLOAD_PATH, UPLOAD_PORT } from '../../crds/mover.ts';
import { type StoredImage, virtualmachineimages } from '../../operator/image/resources.ts';
import { isForbidden, orNotFound } from '../../operator/kube/errors.ts';
import { pods } from '../../operator/kube/resources.ts';
import { type Cluster, connect } from '../cluster.ts';
import type { Invocation } from '../invocation.ts';
import type { Io } from '../io.ts';
import { usage } from '../usage.ts';
import { parseDuration } from '../values.ts';
import { findImage } from './find.ts';
import { openForward } from './forward.ts';
import { ProgressBar } from './progress-bar.ts';

const DEFAULT_TIMEOUT = '10m';
const LOOK_AGAIN = 1_000;
const MIB = 1024 * 1024;
/** Endings of files whose size says nothing of the image's. */
const COMPRESSED = /\.(gz|xz|zst|bz2)$/;

interface File {
  path: string;
  bytes: number;
  /** What tells this file from others: enough to go on with the same one, and never with another. */
  identity: string;
}

export async function upload({ options, io }: Invocation, name: string, path: string): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  const file = await look(path);
  const cluster = await connect(options);
  let stored = await findImage(cluster, name);
  if (stored === undefined) {
    stored = await create(cluster, name, file, options.size, options['storage-class']);
    io.note(`VirtualMachineImage ${name} created`);
  } else if (!stored.spec.source.upload) {
    throw usage(`VirtualMachineImage ${name} has another source; take a name that is free`, 'image');
  }
  if (!stored.spec.claim?.size && phaseOf(stored) !== 'Ready')
    stored = await setSize(cluster, name, file, options.size);
  if (phaseOf(stored) === 'Ready') {
    throw new VmsteadError(
      'OperationFailed',
      `VirtualMachineImage ${name} is complete already (sha256 ${stored.status?.sha256}); take another name, or delete it first`,
    );
  }
  const bar = new ProgressBar(file.bytes);
  try {
    await send(cluster, name, file, bar, io, Date.now() + timeoutMs);
  } finally {
    bar.end();
  }
  const ready = await untilReady(cluster, name, io, Date.now() + timeoutMs);
  const { format, virtualSize, sha256 } = ready.status ?? {};
  io.print(`VirtualMachineImage ${name} is ready: ${format}, ${virtualSize}, sha256 ${sha256}`);
}

async function look(path: string): Promise<File> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw usage(`cannot read ${path}: ${(error as Error).message}`, 'image');
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size === 0) throw usage(`${path} is no file with a disk in it`, 'image');
    const head = Buffer.alloc(Math.min(MIB, stats.size));
    await handle.read(head, 0, head.length, 0);
    const hash = createHash('sha256').update(`${stats.size} ${stats.mtimeMs} `).update(head);
    return { path, bytes: stats.size, identity: hash.digest('hex') };
  } finally {
    await handle.close();
  }
}

async function create(
  { client, namespace }: Cluster,
  name: string,
  file: File,
  size: string | undefined,
  storageClassName: string | undefined,
): Promise<StoredImage> {
  return await client.create(virtualmachineimages, {
    metadata: { namespace, name },
    spec: {
      source: { upload: {} },
      claim: {
        size: size ?? sizeFor(file),
        ...(storageClassName === undefined ? {} : { storageClassName }),
      },
    },
  } as Parameters<typeof client.create<StoredImage>>[1]);
}

function sizeFor({ path, bytes }: File, volumeMode?: 'Filesystem' | 'Block'): string {
  if (COMPRESSED.test(path)) {
    throw usage(
      'how large a compressed image becomes is not known; give --size, such as --size 10Gi',
      'image',
    );
  }
  return claimSizeFor(bytes, volumeMode);
}

/** Of an image that leaves it open: the file tells. */
async function setSize(
  { client, namespace }: Cluster,
  name: string,
  file: File,
  size: string | undefined,
): Promise<StoredImage> {
  const { spec } = await client.get(virtualmachineimages, { namespace, name });
  const claim = { size: size ?? sizeFor(file, spec.claim?.volumeMode) };
  return await client.patch(virtualmachineimages, { namespace, name }, { spec: { claim } });
}

const phaseOf = (image: StoredImage | undefined): string | undefined => image?.status?.phase;

/** The reason and the words of the Ready condition. */
function stateOf(image: StoredImage | undefined): string {
  const ready = image?.status?.conditions?.find(({ type }) => type === 'Ready');
  return ready ? `${ready.reason}: ${ready.message}` : 'the operator has not taken it up; is it running?';
}

/** Sends the file to whichever mover there is, and goes on where the last connection ended. */
async function send(
  cluster: Cluster,
  name: string,
  file: File,
  bar: ProgressBar,
  io: Io,
  deadline: number,
): Promise<void> {
  let said = '';
  const say = (text: string) => {
    if (text !== said) bar.note(io, text);
    said = text;
  };
  for (;;) {
    const image = await findImage(cluster, name);
    if (image === undefined) throw failed(`VirtualMachineImage ${name} was deleted`);
    if (phaseOf(image) === 'Ready') return;
    if (phaseOf(image) === 'Failed') throw failed(stateOf(image));
    const pod = image.status?.podName;
    if (pod !== undefined && (await isRunning(cluster, pod))) {
      const sent = await sendTo(cluster, pod, file, bar).catch((error: unknown) => {
        if (error instanceof VmsteadError || isForbidden(error)) throw error;
        say(`the connection broke off (${(error as Error).message}); going on`);
        return false;
      });
      if (sent) return;
    } else say(stateOf(image));
    if (Date.now() > deadline) {
      throw new VmsteadError(
        'Timeout',
        `the file was not sent in time: ${stateOf(image)}; the same command goes on where this one ended`,
      );
    }
    await sleep(LOOK_AGAIN);
  }
}

async function isRunning({ client, namespace }: Cluster, name: string): Promise<boolean> {
  const pod = await orNotFound(client.get(pods, { namespace, name }));
  return pod?.status?.containerStatuses?.some(({ state }) => state?.running) === true;
}

const failed = (message: string) => new VmsteadError('OperationFailed', `the image was not made: ${message}`);

interface Answer {
  status: number;
  offset: number;
  identity: string | undefined;
  body: string;
}

/** Whether the mover has all of the file, and has found it good. */
async function sendTo(cluster: Cluster, pod: string, file: File, bar: ProgressBar): Promise<boolean> {
  await using forward = await openForward(cluster, pod, UPLOAD_PORT);
  const head = await ask(forward.port, 'HEAD', {});
  const first = head.identity === file.identity ? head.offset : 0;
  if (first >= file.bytes) return false; // All is there, and is being checked.
  bar.at(first);
  const call = request({
    host: '127.0.0.1',
    port: forward.port,
    path: UPLOAD_PATH,
    method: 'PUT',
    headers: {
      'content-length': file.bytes - first,
      'content-range': `bytes ${first}-${file.bytes - 1}/${file.bytes}`,
      [UPLOAD_HEADER.identity]: file.identity,
    },
  });
  const answered = once(call, 'response') as Promise<[IncomingMessage]>;
  // Whichever is first tells; the other one's failure is the same one.
  answered.catch(() => {});
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bar.add(chunk.length);
      done(null, chunk);
    },
  });
  const sending = pipeline(createReadStream(file.path, { start: first }), counted, call);
  sending.catch(() => {});
  const [response] = await Promise.race([answered, sending.then(() => answered)]);
  const answer = await read(response);
  if (answer.status === 200) return true;
  if (answer.status === 422) throw failed(messageIn(answer.body));
  if (answer.status === 202 || answer.status === 409) return false;
  throw failed(`the mover answered ${answer.status} ${messageIn(answer.body)}`);
}

function messageIn(body: string): string {
  try {
    const { code, message } = JSON.parse(body) as { code?: string; message?: string };
    return message === undefined ? body : code === undefined ? message : `${code}: ${message}`;
  } catch {
    return body.trim();
  }
}

async function ask(port: number, method: string, headers: Record<string, string>): Promise<Answer> {
  const call = request({ host: '127.0.0.1', port, path: UPLOAD_PATH, method, headers });
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return await read(response);
}

async function read(response: IncomingMessage): Promise<Answer> {
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  const identity = response.headers[UPLOAD_HEADER.identity];
  return {
    status: response.statusCode ?? 0,
    offset: Number(response.headers[UPLOAD_HEADER.offset] ?? 0),
    identity: typeof identity === 'string' && identity !== '' ? identity : undefined,
    body,
  };
}

async function untilReady(cluster: Cluster, name: string, io: Io, deadline: number): Promise<StoredImage> {
  let said = '';
  for (;;) {
    const image = await findImage(cluster, name);
    if (image !== undefined && phaseOf(image) === 'Ready') return image;
    if (image === undefined || phaseOf(image) === 'Failed') throw failed(stateOf(image));
    if (stateOf(image) !== said) io.note(stateOf(image));
    said = stateOf(image);
    if (Date.now() > deadline) throw new VmsteadError('Timeout', `the file is sent, but: ${said}`);
    await sleep(LOOK_AGAIN);
  }
}
