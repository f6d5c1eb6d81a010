/** UEFI's code, and the machine's own copy of its variables. */
import { lstatSync, mkdirSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { publish } from './blank.ts';
import { lookAt } from './storage.ts';

interface Firmware {
  code: string;
  variables: string;
}

/** Where distributions put OVMF (4 MiB build first). */
const PLACES: readonly Firmware[] = [
  { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
  { code: '/usr/share/edk2/x64/OVMF_CODE.4m.fd', variables: '/usr/share/edk2/x64/OVMF_VARS.4m.fd' },
  { code: '/usr/share/edk2/ovmf/OVMF_CODE.fd', variables: '/usr/share/edk2/ovmf/OVMF_VARS.fd' },
];

/**
 * Finds the code, and copies the template of the variables to `path` when nothing is there yet. Returns the
 * code's path; throws MachineRefused.
 */
export function prepareUefi(path: string): string {
  const found = PLACES.find(({ code }) => lookAt(code) !== undefined);
  if (found === undefined) {
    throw new VmsteadError(
      'MachineRefused',
      'firmware UEFI needs OVMF, which is not installed beside this QEMU; on Debian: apt-get install ovmf',
    );
  }
  if (lookAt(path) === undefined) {
    mkdirSync(dirname(path), { recursive: true });
    const template = readFileSync(found.variables);
    publish(`${path}.new`, path, (file) => writeSync(file, template));
  }
  if (!lstatSync(path).isFile()) {
    throw new VmsteadError('MachineRefused', `the UEFI variables ${path} are not a regular file`);
  }
  return found.code;
}
