/** UEFI: its code and its variables, as two flash chips. BIOS needs nothing. */
import type { MachineDescription } from '../../crds/machine-description.ts';
import type { Host } from './host.ts';
import { InvalidMachine } from './invalid-machine.ts';
import { json } from './quoting.ts';

export function pflash({ firmware }: MachineDescription, { uefiCode }: Host): string[] {
  if (firmware.type === 'BIOS') return [];
  if (uefiCode === undefined) {
    throw new InvalidMachine('firmware UEFI needs OVMF, which is not installed beside this QEMU');
  }
  return [
    '-blockdev',
    json({ driver: 'file', 'node-name': 'uefi-code', filename: uefiCode, 'read-only': true }),
    '-blockdev',
    json({ driver: 'file', 'node-name': 'uefi-variables', filename: firmware.variables, locking: 'on' }),
  ];
}
