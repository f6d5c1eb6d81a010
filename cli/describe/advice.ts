/** What a person can do about the state of a VM, beyond what the conditions say themselves. */
import type { StoredVirtualMachine } from '../../operator/virtual-machine/resources.ts';

/** Commands to try next, the most useful first. */
export function advice(vm: StoredVirtualMachine, inNamespace: string): string[] {
  const { name } = vm.metadata;
  const { status, spec } = vm;
  const on = (command: string, rest = ''): string => `kubectl vm ${command} ${name}${inNamespace}${rest}`;
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  const lines: string[] = [];
  if (status?.phase === undefined) {
    lines.push(
      'The operator has not seen this VM yet. Is it running? kubectl get pods -A -l app.kubernetes.io/name=vmstead',
    );
    return lines;
  }
  switch (status.phase) {
    case 'Running':
      lines.push(`See its console: ${on('console')}`);
      break;
    case 'Paused':
      if (ready?.reason === 'Paused') lines.push(`Let it go on: ${on('resume')}`);
      break;
    case 'Stopped':
    case 'Succeeded':
      if (spec.runStrategy === 'Halted') lines.push('Set spec.runStrategy to Always to have it run.');
      else lines.push(`Start it: ${on('start')}`);
      break;
    case 'Failed':
      lines.push(`See its last words: ${on('logs', ' --previous')}`, `Start it again: ${on('start')}`);
      break;
    case 'CrashLoopBackOff':
      lines.push(`See the last words of the run that ended: ${on('logs', ' --previous')}`);
      break;
    case 'Stopping':
      lines.push(`End it without waiting for the guest (unsaved data are lost): ${on('stop', ' --force')}`);
      break;
    case 'Unknown':
      lines.push(`Look at its node: kubectl describe node ${status.launcher?.node ?? ''}`.trimEnd());
      break;
    default:
      break;
  }
  if ((status.restartRequired?.length ?? 0) > 0) {
    lines.push(`Apply the changes that wait for a restart: ${on('restart')}`);
  }
  return lines;
}
