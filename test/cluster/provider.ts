/** What a command did on a node. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/** A machine of the cluster, as far as its provider can drive it. */
export interface NodeHandle {
  /** The name of its Node object. */
  readonly name: string;
  readonly ip: string;
  /** Runs a command as root on the node, a string through bash. Never throws for an exit code. */
  exec(command: string | string[]): Promise<ExecResult>;
  /** Cuts its power: nothing on it ends in good order. */
  stop(): Promise<void>;
  /** Switches it on again: with `stop`, a reboot. Volumes and images are still there. */
  start(): Promise<void>;
  /** Freezes every process on it (a silent node), until `unpause`. */
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** Drives one of its services (`kubelet`, `containerd`, `kube-proxy`; on the control plane `kube-apiserver`, `etcd`, …). `kill` is SIGKILL: it comes back by itself. */
  service(name: string, action: 'stop' | 'start' | 'kill' | 'pause' | 'continue'): Promise<void>;
}

export interface Cluster {
  readonly name: string;
  readonly kubeconfigPath: string;
  /** The schedulable nodes. */
  readonly nodes: readonly NodeHandle[];
  /** Where kube-apiserver runs; undefined when it cannot be driven. */
  readonly controlPlane?: NodeHandle;
  /** The API server's audit log (JSON lines, level Metadata) as a local file; undefined when there is none. */
  readonly auditLogPath?: string;
  /** @throws Error when there is no node of that name */
  node(name: string): NodeHandle;
  /** Makes local Docker images usable on every node under their own names; quick when they are there already. */
  loadImages(references: readonly string[]): Promise<void>;
}

/** Says what it is doing, for a person who waits. */
export type Report = (message: string) => void;

/** The one interface between Vmstead and wherever its cluster comes from. */
export interface ClusterProvider {
  /**
   * Starts the cluster, or finds it running as it should be; returns when all nodes are Ready.
   *
   * @param images local images that a new cluster's nodes may load while the rest of it starts: a hint
   */
  ensure(report?: Report, images?: Promise<readonly string[]>): Promise<Cluster>;
  /** Ends it, and leaves nothing running. Quiet when there is nothing. */
  stop(report?: Report): Promise<void>;
}
