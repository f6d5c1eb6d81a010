/** What a person asks of a running VM, each request carried out at most once. */
import type { CommandName } from '../../crds/channel.ts';
import { VmsteadError } from '../../crds/errors.ts';
import type { QmpClient } from '../qmp/client.ts';
import type { Vm } from './vm.ts';

type Action = (vm: Vm, qmp: QmpClient) => Promise<void>;

const ACTIONS: Readonly<Record<CommandName, Action>> = {
  async pause(vm, qmp) {
    vm.options.life.change({ pausedByPerson: true });
    await qmp.execute('stop');
    await vm.refresh();
  },
  async resume(vm, qmp) {
    vm.options.life.change({ pausedByPerson: false });
    await qmp.execute('cont');
    await vm.refresh();
  },
  async reset(_vm, qmp) {
    await qmp.execute('system_reset');
  },
  async quit(vm) {
    vm.options.life.requestStop();
    await vm.quit({ result: 'StoppedForced', message: 'the VM was stopped by force' });
  },
};

/** Doing these again changes nothing. */
const IDEMPOTENT: ReadonlySet<CommandName> = new Set(['pause', 'resume', 'quit']);

/** Throws VmsteadError: QmpRefused, QmpClosed, QmpTimeout. */
export async function carryOut(vm: Vm, id: string, name: CommandName): Promise<void> {
  const { life, log } = vm.options;
  const known = life.commandState(id);
  if (known === 'done') return;
  if (known === 'begun' && !IDEMPOTENT.has(name)) {
    throw new VmsteadError(
      'QmpClosed',
      `the launcher was restarted while it carried out ${name}; whether the guest saw it is not known`,
    );
  }
  if (vm.qmp === undefined || vm.state === 'Ended') {
    throw new VmsteadError('QmpClosed', `QEMU is not there to ${name} the guest`);
  }
  log.info({ command: name, requestId: id }, 'command');
  life.noteCommand(id, false);
  await ACTIONS[name](vm, vm.qmp);
  life.noteCommand(id, true);
}
