/**
 * The attachment pod: it exports one claim to a VM that runs already. What it is told (the job, as JSON in a pod
 * annotation, which holds no secret); its key comes over the channel.
 */
import * as z from 'zod';
import { machineDescription, machineDisk } from './machine-description.ts';

/** Where things are in an attachment pod; its claim is where a launcher pod has it. */
export const ATTACHMENT_PATH = {
  /** Projected volume: job.json and token, as in a launcher. */
  config: '/etc/vmstead',
  job: '/etc/vmstead/job.json',
  token: '/etc/vmstead/token',
  /** tmpfs: the key, the socket and the pid file of qemu-storage-daemon. */
  run: '/run/vmstead',
  terminationLog: '/dev/termination-log',
} as const;

/** Name of the one container of an attachment pod, and the command in it, from the launcher image. */
export const ATTACHMENT_CONTAINER = 'attachment';
export const ATTACHMENT_COMMAND = ['/usr/bin/tini', '--', '/usr/lib/vmstead/attachment'] as const;

/** TCP port on the pod's IP at which the disk is exported by NBD, under TLS with a pre-shared key. */
export const ATTACHMENT_PORT = 10809;
/** Name under which both ends know their key. */
export const ATTACHMENT_USER = 'vmstead';

export const attachmentJob = z.strictObject({
  version: z.literal(1),
  vm: machineDescription.shape.vm,
  attempt: z.int(),
  /** As a launcher would have it that had the claim mounted itself. */
  disk: machineDisk,
  channel: machineDescription.shape.channel,
});
export type AttachmentJob = z.infer<typeof attachmentJob>;
