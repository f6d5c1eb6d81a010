/** The launcher's log: JSON lines like the operator's (docs/logging.md). */
import pino from 'pino';
import type { MachineDescription } from '../crds/machine-description.ts';

export function jsonLog({ vm, incarnation }: Pick<MachineDescription, 'vm' | 'incarnation'>): pino.Logger {
  return pino(
    {
      level: process.env.VMSTEAD_LOG_LEVEL ?? 'info',
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      base: { component: 'launcher', namespace: vm.namespace, vm: vm.name, incarnation },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
