/** Files that the kubelet mounted (ConfigMap, Secret, fields of the pod) as a CD-ROM or disk that is only read. */
import { readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDisk } from '../../crds/machine-description.ts';
import { errno } from '../errno.ts';
import { type IsoFile, iso9660, LONGEST_NAME } from './iso9660.ts';

type FilesBackend = Extract<MachineDisk['backend'], { type: 'files' }>;

/** A ConfigMap or Secret has at most 1 MiB, and each file takes a sector more at most; the image lies in memory. */
export const MOST_BYTES = 4 * 1024 * 1024;

/** What Windows' Setup and Sysprep look for on removable media. */
const ANSWER_FILES = /^(auto)?unattend\.xml$/i;

/** Where the kubelet keeps all files of one moment. */
const MOMENT = '..data';

/**
 * Makes the image at its path, anew with every start. Throws DiskUnusable.
 * @param disk its name
 */
export function writeFilesImage(disk: string, { directory, label, path, answers }: FilesBackend): void {
  const files = filesIn(disk, directory);
  if (answers && !files.some(({ name }) => ANSWER_FILES.test(name))) {
    const has = files.length === 0 ? 'no key' : `only ${listed(files)}`;
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: its answer files need a key autounattend.xml or unattend.xml, and there is ${has}; correct the ConfigMap or Secret`,
    );
  }
  const image = iso9660(label, files);
  if (image.length > MOST_BYTES) {
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: its ${files.length} files make a disk of ${image.length} bytes, and at most ${MOST_BYTES} are passed on; put less into the ConfigMap or Secret`,
    );
  }
  writeFileSync(path, image, { mode: 0o600 });
}

function filesIn(disk: string, directory: string): IsoFile[] {
  let folder: string;
  try {
    // One moment's files: a change of the ConfigMap swaps the link, never a file.
    folder = realpathSync(join(directory, MOMENT));
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
    // Without a cluster, or an optional one that does not exist.
    folder = directory;
  }
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('..') && statSync(join(folder, name)).isFile())
      .map((name) => ({ name: fitting(disk, name), content: readFileSync(join(folder, name)) }));
  } catch (error) {
    if (error instanceof VmsteadError) throw error;
    throw new VmsteadError(
      'DiskUnusable',
      `disk ${disk}: its files cannot be read from ${directory}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function fitting(disk: string, name: string): string {
  if (name.length <= LONGEST_NAME) return name;
  throw new VmsteadError(
    'DiskUnusable',
    `disk ${disk}: a file on it can have a name of at most ${LONGEST_NAME} characters, and the key ${name} has ${name.length}`,
  );
}

const listed = (files: readonly IsoFile[]): string =>
  files
    .slice(0, 3)
    .map(({ name }) => name)
    .join(', ') + (files.length > 3 ? ', …' : '');
