/** The machine description asks for what no QEMU can be started with. */
export class InvalidMachine extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InvalidMachine';
  }
}
