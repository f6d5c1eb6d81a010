import { VmsteadError } from '../../crds/errors.ts';

/** The machine description asks for what no QEMU can be started with. */
export class InvalidMachine extends VmsteadError {
  constructor(message: string) {
    super('MachineRefused', message);
  }
}
