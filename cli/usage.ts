import { VmsteadError } from '../crds/errors.ts';

/** Wrong words on the command line; names the page that tells the right ones. */
export function usage(message: string, command?: string): VmsteadError {
  const page = command === undefined ? 'kubectl vm help' : `kubectl vm help ${command}`;
  return new VmsteadError('Usage', `${message}; see ${page}`);
}
