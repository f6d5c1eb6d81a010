/**
 * cloud-init's NoCloud data: a small file system labelled `cidata`.
 * Source: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { VmsteadError } from '../../crds/errors.ts';
import type { MachineDescription } from '../../crds/machine-description.ts';
import { type IsoFile, iso9660 } from './iso9660.ts';

type CloudInit = NonNullable<MachineDescription['cloudInit']>;
type Source = CloudInit['userData'];

/** No cloud takes more user data; the seed lies in memory. */
const MOST_BYTES = 1024 * 1024;

/** Writes the seed to `path` (tmpfs: user data may be secret). Throws MachineRefused. */
export function writeSeed(path: string, cloudInit: CloudInit): void {
  // JSON is YAML in which no value can be misread.
  const metaData = { 'instance-id': cloudInit.instanceId, 'local-hostname': cloudInit.hostname };
  const files: IsoFile[] = [
    { name: 'meta-data', content: Buffer.from(`${JSON.stringify(metaData)}\n`) },
    { name: 'user-data', content: read(cloudInit.userData, 'user data') },
  ];
  if (cloudInit.networkData !== undefined) {
    files.push({ name: 'network-config', content: read(cloudInit.networkData, 'network data') });
  }
  writeFileSync(path, iso9660('cidata', files), { mode: 0o600 });
}

function read(source: Source, what: string): Buffer {
  const content = 'inline' in source ? Buffer.from(source.inline) : readMounted(source.file, what);
  if (content.length > MOST_BYTES) {
    throw new VmsteadError(
      'MachineRefused',
      `cloudInit: the ${what} have ${content.length} bytes; at most ${MOST_BYTES} are passed on`,
    );
  }
  return content;
}

function readMounted(file: string, what: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new VmsteadError(
      'MachineRefused',
      `cloudInit: the ${what} cannot be read from ${file} (${(error as Error).message}); look at the keys of the Secret`,
      { cause: error },
    );
  }
}
