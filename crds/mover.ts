/**
 * The mover: a pod that writes one image into its claim. What it is told (the job, as JSON in a pod annotation,
 * which holds no secret), what it says while it works (progress, over the channel), and how it ended (its
 * termination message).
 */
import * as z from 'zod';

/** Where things are in a mover pod. A job without a cluster names other paths. */
export const MOVER_PATH = {
  /** Projected volume: job.json and token, as in a launcher. */
  config: '/etc/vmstead',
  job: '/etc/vmstead/job.json',
  token: '/etc/vmstead/token',
  /** Secret: user and password (or accessKeyId and secretKey), headers (lines "Name: value"). */
  sourceSecret: '/source-secret',
  /** ConfigMap: every file in it is PEM, trusted besides the usual authorities. */
  sourceCa: '/source-ca',
  /** Image volume with the source, read-only. */
  sourceImage: '/source-image',
  /** Filesystem claim with the source, read-only. */
  source: '/source',
  /** Block claim with the source. */
  blockSource: '/dev/vmstead/source',
  /** Filesystem claim that the image is written to. */
  target: '/target',
  /** Block claim that the image is written to. */
  blockTarget: '/dev/vmstead/target',
  terminationLog: '/dev/termination-log',
} as const;

/** Command of a mover's container, in the launcher image. */
export const MOVER_COMMAND = ['/usr/bin/tini', '--', '/usr/lib/vmstead/mover'] as const;

/** Memory that a mover's pod asks for, in MiB: the mover itself and one decompressor or qemu-img beside it. */
export const MOVER_MEMORY_MIB = 192;

/** Port on the pod's 127.0.0.1 that takes an upload; reached by port-forward only. */
export const UPLOAD_PORT = 8080;
export const UPLOAD_PATH = '/disk';
/**
 * Headers of an upload. HEAD answers with OFFSET (bytes of the file that need not be sent again) and IDENTITY (of
 * the file that they are from). PUT carries IDENTITY and Content-Range: bytes FIRST-LAST/TOTAL; FIRST is the
 * offset, or 0 to begin again. 409 tells the right OFFSET. The PUT that brings the last byte is answered with
 * the moverResult, when the image has been verified (200) or refused (422); one before it with 202.
 */
export const UPLOAD_HEADER = { offset: 'upload-offset', identity: 'upload-identity' } as const;

/** QEMU's names of the formats in which an image may be. ISO images are raw. */
export const imageFormat = z.enum(['raw', 'qcow2', 'vmdk', 'vdi', 'vpc', 'vhdx']);
export type ImageFormat = z.infer<typeof imageFormat>;

/** Ending of the file in a filesystem claim: `disk.<ending>`; `disk.json` beside it has the metadata. */
export const IMAGE_FILE: Readonly<Record<ImageFormat, string>> = {
  raw: 'disk.img',
  qcow2: 'disk.qcow2',
  vmdk: 'disk.vmdk',
  vdi: 'disk.vdi',
  vpc: 'disk.vhd',
  vhdx: 'disk.vhdx',
};
export const IMAGE_METADATA_FILE = 'disk.json';

export const checksum = z.strictObject({
  algorithm: z.enum(['sha256', 'sha512']),
  /** Lower-case hex. */
  digest: z.string().regex(/^([0-9a-f]{64}|[0-9a-f]{128})$/),
});
export type Checksum = z.infer<typeof checksum>;

/** Of the bytes as they are served, compressed or not. */
const expected = z.union([
  checksum,
  /** A list such as SHA256SUMS, or a file with nothing but the digest. */
  z.strictObject({ url: z.string() }),
]);

const source = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('http'),
    /** http or https, without user and password. */
    url: z.string(),
    checksum: expected.optional(),
    /** Folder of the Secret, as in MOVER_PATH.sourceSecret. */
    secretDirectory: z.string().optional(),
    /** Folder of the ConfigMap, as in MOVER_PATH.sourceCa. */
    caDirectory: z.string().optional(),
    /** http://host:port, asked to CONNECT for both http and https. */
    proxy: z.string().optional(),
    /** Let the source, or a redirect, be at a loopback, link-local, private or otherwise internal address. */
    allowPrivateAddresses: z.boolean(),
    /** Further networks (CIDR) that count as internal: those of pods and services, where they are public ones. */
    internalNetworks: z.array(z.string()).max(32).optional(),
  }),
  z.strictObject({
    type: z.literal('image'),
    /** Folder of the image volume. */
    directory: z.string(),
    /** Path of the disk below `directory`; absent: the only file in its `disk` folder. */
    path: z.string().optional(),
  }),
  z.strictObject({
    type: z.literal('claim'),
    directory: z.string(),
    /** Absent: what disk.json names, else disk.img, else the only file. */
    path: z.string().optional(),
  }),
  z.strictObject({
    type: z.literal('block'),
    path: z.string(),
    /** Bytes of the image on the device, where they are known; else the whole device is taken. */
    bytes: z.int().optional(),
  }),
  z.strictObject({
    type: z.literal('snapshot'),
    /** Folder with the layers of the disk. */
    directory: z.string(),
    /** UID of the VirtualMachineSnapshot. */
    snapshot: z.string(),
  }),
  z.strictObject({
    type: z.literal('upload'),
    port: z.int(),
    checksum: checksum.optional(),
  }),
  z.strictObject({ type: z.literal('blank'), bytes: z.int().positive() }),
]);
export type MoverSource = z.infer<typeof source>;

const target = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('file'), directory: z.string() }),
  z.strictObject({ type: z.literal('block'), path: z.string() }),
  /** Only look at the source: for the size of a claim that is still to be made. Not for uploads. */
  z.strictObject({ type: z.literal('none') }),
]);

export const moverJob = z.strictObject({
  version: z.literal(1),
  image: z.strictObject({ namespace: z.string(), name: z.string(), uid: z.string() }),
  attempt: z.int(),
  source,
  target,
  /** Largest disk that a guest may see in the image, and so the bound of what a compressed file may become. */
  maxVirtualBytes: z.int().positive(),
  /** How the operator is reached; absent without a cluster. */
  channel: z
    .strictObject({ addresses: z.array(z.string()), serverName: z.string(), caCertificate: z.string() })
    .optional(),
});
export type MoverJob = z.infer<typeof moverJob>;

/**
 * `Waiting`: for an upload to begin or to go on, or before another attempt to reach the source (`message` says
 * why). `Verifying`: all bytes are there and the image is being checked.
 */
const moverPhase = z.enum(['Connecting', 'Transferring', 'Waiting', 'Verifying']);

/** Sent up the channel when it changes, at most once a second. */
export const moverProgress = z.strictObject({
  phase: moverPhase,
  message: z.string().max(1024).optional(),
  /** Bytes of the source that have been taken, those of earlier attempts included. */
  transferredBytes: z.int(),
  /** Of the source; absent while it is not known. */
  totalBytes: z.int().optional(),
  /** Length that the image has by now in the claim, holes included. */
  writtenBytes: z.int(),
  /** Of the source, lately. */
  bytesPerSecond: z.int(),
  etaSeconds: z.int().optional(),
  /** Connections that were lost and made again. */
  reconnects: z.int(),
});
export type MoverProgress = z.infer<typeof moverProgress>;

/**
 * What is known of an image that is there: the content of disk.json, and of the annotation on its claim. Short
 * enough for that: at most 1 KiB of JSON.
 */
export const imageMetadata = z.strictObject({
  version: z.literal(1),
  format: imageFormat,
  /** Length of the file, or of the image at the beginning of the device. */
  bytes: z.int(),
  /** Bytes that the claim has to hold for it: less than `bytes` where the file has holes. Of a block claim: `bytes`. */
  actualBytes: z.int(),
  /** Size of the disk that a guest sees. */
  virtualBytes: z.int(),
  /** Of the `bytes` bytes, in hex; absent for a blank one. */
  sha256: z.string().length(64).optional(),
  /** An ISO 9660 image: a CD-ROM rather than a disk. */
  iso: z.boolean().optional(),
  source: z.strictObject({
    type: z.enum(['http', 'image', 'claim', 'block', 'snapshot', 'upload', 'blank']),
    /** Without user, password and query. */
    url: z.string().max(256).optional(),
    /** Wrappers that were taken off, the outermost first. */
    compression: z.array(z.enum(['gz', 'xz', 'zst', 'bz2'])).optional(),
    /** Bytes that were transferred: of the compressed file. */
    bytes: z.int(),
    /** What was asked for, and holds. */
    checksum: checksum.optional(),
    /** Of the server: says whether there is something newer. */
    etag: z.string().max(128).optional(),
    lastModified: z.string().max(64).optional(),
  }),
  completedAt: z.string(),
});
export type ImageMetadata = z.infer<typeof imageMetadata>;

/** What a job without a target found out. */
export const imageInspection = z.strictObject({
  format: imageFormat,
  /** Size of the disk that a guest sees. */
  virtualBytes: z.int(),
  /** Most bytes that the image takes in a claim; the claim's file system needs room besides. */
  bytes: z.int(),
  iso: z.boolean().optional(),
  /** Bytes that are to be transferred, where they are known. */
  sourceBytes: z.int().optional(),
});
export type ImageInspection = z.infer<typeof imageInspection>;

/** The termination message of a mover. Its exit code is 0 when it succeeded. */
export const moverResult = z.discriminatedUnion('result', [
  z.strictObject({
    result: z.literal('Succeeded'),
    image: imageMetadata.optional(),
    inspection: imageInspection.optional(),
    /** From the start of the mover to the image. */
    seconds: z.number(),
    at: z.string(),
  }),
  z.strictObject({
    result: z.literal('Failed'),
    /** An error code of docs/errors.md. */
    code: z.string(),
    message: z.string().max(1024),
    /** Whether the same job may succeed when it is tried again: false for what only a change of the spec cures. */
    retry: z.boolean(),
    at: z.string(),
  }),
]);
export type MoverResult = z.infer<typeof moverResult>;
