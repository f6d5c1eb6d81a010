/** The command line of `vmstead run`. */
import { parseArgs } from 'node:util';
import { VmsteadError } from '../../crds/errors.ts';

export const USAGE = `vmstead run: a VirtualMachine on this machine, without a cluster and without root

Usage: vmstead run FILE [flags]

The console of the guest is in this terminal; Ctrl-] leaves, and the guest is shut down cleanly.

Flags:
  --disk NAME=FILE       the file of a disk that a cluster would keep in a claim (raw, or *.qcow2);
                         a blank disk without one is thrown away at the end
  --image REF=FOLDER     an image as an OCI layout folder, or as its unpacked files;
                         one without is taken from the Docker engine, where there is one
  --secret NAME=FILE     the user data that a cluster would keep in that Secret
  --port PORT=HOSTPORT   another port of this machine for a port of the guest (ports below 1024
                         are taken from 10000 upwards unless named)
  --dry-run              print the QEMU command line and do nothing else
  --help
`;

export interface RunArguments {
  file: string;
  disks: ReadonlyMap<string, string>;
  images: ReadonlyMap<string, string>;
  secrets: ReadonlyMap<string, string>;
  ports: ReadonlyMap<number, number>;
  dryRun: boolean;
}

/** Undefined when help was asked for; throws VmsteadError Usage. */
export function parseRunArguments(args: readonly string[]): RunArguments | undefined {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    throw usage((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help || (args.length === 0 && positionals.length === 0)) return undefined;
  const [command, file, ...rest] = positionals;
  if (command !== 'run') throw usage(`there is no command ${command ?? ''}`);
  if (file === undefined) throw usage('which VM? Name the file of its manifest');
  if (rest.length > 0) throw usage(`one file at a time: ${rest.join(' ')} is one too many`);
  const ports = [...pairs('port', values.port)].map(([guest, host]) => [port(guest), port(host)] as const);
  return {
    file,
    disks: pairs('disk', values.disk),
    images: pairs('image', values.image),
    secrets: pairs('secret', values.secret),
    ports: new Map(ports),
    dryRun: values['dry-run'] ?? false,
  };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      disk: { type: 'string', multiple: true },
      image: { type: 'string', multiple: true },
      secret: { type: 'string', multiple: true },
      port: { type: 'string', multiple: true },
      'dry-run': { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

function usage(what: string): VmsteadError {
  return new VmsteadError('Usage', `${what}; vmstead run --help shows how it is used`);
}

function pairs(flag: string, values: readonly string[] = []): Map<string, string> {
  return new Map(
    values.map((value) => {
      // An image reference may hold no "=", a path may.
      const at = value.indexOf('=');
      if (at <= 0 || at === value.length - 1) throw usage(`--${flag} ${value} is not of the form name=value`);
      return [value.slice(0, at), value.slice(at + 1)];
    }),
  );
}

function port(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 65535) throw usage(`${text} is no port`);
  return number;
}
