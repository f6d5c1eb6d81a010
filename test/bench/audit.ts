/** Requests to the API server, counted from its audit log. */
import { open, stat } from 'node:fs/promises';
import { RELEASE_NAMESPACES, USER_AGENT } from './names.ts';

/** Of a line of the audit log, what is looked at. https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/ */
interface AuditEvent {
  auditID: string;
  stage: string;
  verb: string;
  userAgent?: string;
  user: { username: string };
  objectRef?: { resource: string; subresource?: string; namespace?: string; apiGroup?: string };
  requestReceivedTimestamp: string;
}

/** A request that was made, once, however many lines tell of it. */
export interface Request {
  /** Milliseconds since the epoch. */
  at: number;
  verb: string;
  /** With its subresource: `pods/status`. */
  resource: string;
  namespace: string | undefined;
  /** Name of the program, or of the part of Vmstead. */
  client: string;
}

const WRITES = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);

/** The part of the audit log that is written between two calls. */
export class AuditWindow {
  readonly #path: string;
  readonly #offset: number;

  private constructor(path: string, offset: number) {
    this.#path = path;
    this.#offset = offset;
  }

  static async begin(path: string): Promise<AuditWindow> {
    return new AuditWindow(path, (await stat(path)).size);
  }

  /** Requests that were received from `from` until `to`, milliseconds since the epoch. */
  async requests(from: number, to: number): Promise<Request[]> {
    await using file = await open(this.#path);
    const chunks: Buffer[] = [];
    for await (const chunk of file.createReadStream({ start: this.#offset, autoClose: false })) {
      chunks.push(chunk as Buffer);
    }
    return parseRequests(Buffer.concat(chunks).toString()).filter(({ at }) => at >= from && at <= to);
  }
}

/** Incomplete lines (the first and last of a part of a file) are left out. */
export function parseRequests(text: string): Request[] {
  const seen = new Set<string>();
  const requests: Request[] = [];
  for (const line of text.split('\n')) {
    const event = parseLine(line);
    if (event === undefined || seen.has(event.auditID)) continue;
    seen.add(event.auditID);
    const { resource = '', subresource, namespace } = event.objectRef ?? {};
    requests.push({
      at: Date.parse(event.requestReceivedTimestamp),
      verb: event.verb,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      namespace,
      client: clientOf(event),
    });
  }
  return requests;
}

function parseLine(line: string): AuditEvent | undefined {
  if (!line.startsWith('{') || !line.endsWith('}')) return undefined;
  try {
    return JSON.parse(line) as AuditEvent;
  } catch {
    return undefined;
  }
}

function clientOf({ userAgent = '', user }: AuditEvent): string {
  const [, namespace, account] = /^system:serviceaccount:([^:]+):(.+)$/.exec(user.username) ?? [];
  if (RELEASE_NAMESPACES.some((each) => each === namespace)) return account ?? '';
  return userAgent.split('/')[0] ?? '';
}

/** What one VM or pod cost the API server. */
export interface Cost {
  /** Everything but leases and our own looking on. */
  all: number;
  /** Of these, events. */
  events: number;
  /** Of these, writes to the pod and the VirtualMachine, creation and binding included. */
  writes: number;
  /** Leases, which are not among them. */
  leases: number;
  /** By client, events not among them: "kubelet: patch pods/status" → times. */
  by: Record<string, number>;
}

/** @param namespace where nothing else happened meanwhile */
export function costOf(requests: readonly Request[], namespace: string): Cost {
  const cost: Cost = { all: 0, events: 0, writes: 0, leases: 0, by: {} };
  for (const request of requests) {
    const { client, verb, resource } = request;
    const ours = client === USER_AGENT;
    // Vmstead's own requests have no namespace when they review tokens.
    if (request.namespace !== namespace && !(client.startsWith('vmstead-') && !ours)) continue;
    if (ours && verb !== 'create') continue;
    if (resource === 'leases') {
      cost.leases++;
      continue;
    }
    cost.all++;
    if (resource === 'events') {
      cost.events++;
      continue;
    }
    if (WRITES.has(verb) && /^(pods|virtualmachines)(\/|$)/.test(resource)) cost.writes++;
    const key = `${client}: ${verb} ${resource}`;
    cost.by[key] = (cost.by[key] ?? 0) + 1;
  }
  return cost;
}
