/** Every option of every command; one name means the same everywhere. */

export interface OptionDefinition {
  readonly short?: string;
  /** Name of the value in the help; absent: the option takes none. */
  readonly value?: string;
  readonly text: string;
}

export const OPTIONS = {
  namespace: { short: 'n', value: 'NAME', text: "Namespace; absent: the context's" },
  'all-namespaces': { short: 'A', text: 'All namespaces' },
  context: { value: 'NAME', text: 'Context of the kubeconfig; absent: the current one' },
  kubeconfig: { value: 'FILE', text: 'Kubeconfig; absent: KUBECONFIG, else ~/.kube/config' },
  help: { short: 'h', text: 'Show help' },
  force: { text: 'Do not wait for the guest: its unsaved data are lost' },
  'no-wait': { text: 'Return once the operation is made, without its result' },
  timeout: { value: 'TIME', text: 'Longest wait for the result, such as 30s or 5m (5m)' },
  follow: { short: 'f', text: 'Go on showing what is added' },
  tail: { value: 'LINES', text: 'Show only the last lines' },
  previous: { short: 'p', text: 'Of the last run that ended, while its pod is kept' },
  client: { text: 'Do not ask the cluster' },
  memory: { text: "The guest's memory too, so that it can go on exactly where it was" },
  'last-valid': { text: 'The newest snapshot that is whole' },
  output: { short: 'o', value: 'FILE', text: 'File to write; its ending tells the format' },
  disk: { value: 'NAME', text: 'Disk of the VM; absent: the only one' },
  snapshot: { value: 'NAME', text: 'As it was at this snapshot of the VM; absent: as it is now' },
  linked: {
    text: 'The new disks stay on images that are only read, and take only the room of what is written',
  },
  size: { value: 'SIZE', text: "Size of a new image's claim; absent: that of the file, and a little more" },
  'storage-class': {
    value: 'NAME',
    text: "Storage class of a new image's claim; absent: the cluster's default",
  },
} as const satisfies Record<string, OptionDefinition>;

export type OptionName = keyof typeof OPTIONS;

/** Options that every command takes. */
export const GLOBAL_OPTIONS = [
  'namespace',
  'context',
  'kubeconfig',
  'help',
] as const satisfies readonly OptionName[];

type Value<Name extends OptionName> = (typeof OPTIONS)[Name] extends { readonly value: string }
  ? string
  : boolean;

export type OptionValues = { readonly [Name in OptionName]?: Value<Name> };
