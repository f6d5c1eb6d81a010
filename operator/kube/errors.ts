import type { V1Status } from '@kubernetes/client-node';
import type { Wire } from './object.ts';

/** The `Status` document with which the API server answers a failed request. */
export type Status = Wire<V1Status>;

/** What the request was, for messages and metrics. */
export interface RequestName {
  readonly method: string;
  readonly path: string;
}

/** The API server answered, and the answer is an error. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status code. */
  readonly code: number;
  /** `reason` of the Status document, for instance `NotFound`, `Conflict`, `AlreadyExists`; empty when there was none. */
  readonly reason: string;
  /** `details` of the Status document: the object, and the causes of an invalid one. */
  readonly details: Status['details'];
  /** Milliseconds that the server asked to wait (Retry-After), if it did. */
  readonly retryAfterMs: number | undefined;
  /** The server's own sentence, without the request in front of it. */
  readonly statusMessage: string;
  /** Of the request in the API server's audit log; absent when it was not the API server that answered. */
  readonly requestId: string | undefined;

  constructor(
    code: number,
    status: Status,
    request: RequestName,
    more: { readonly retryAfterMs?: number | undefined; readonly requestId?: string | undefined } = {},
  ) {
    const said = status.message || status.reason || `HTTP ${code}`;
    super(`${request.method} ${request.path}: ${said} (${code})`);
    this.code = code;
    this.reason = status.reason ?? '';
    this.details = status.details;
    this.statusMessage = said;
    this.retryAfterMs = more.retryAfterMs;
    this.requestId = more.requestId;
  }
}

/** No usable answer came: refused, reset, cut, or later than the deadline. Whether a write took place is not known. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  /** Node's error code (`ECONNREFUSED`, `ECONNRESET`, …), `DEADLINE`, `ABORTED` or `NOT_JSON`. */
  readonly code: string;

  constructor(code: string, message: string, request: RequestName, cause?: unknown) {
    super(`${request.method} ${request.path}: ${message}`, { cause });
    this.code = code;
  }
}

const hasReason =
  (code: number, reason: string) =>
  (error: unknown): error is ApiError =>
    error instanceof ApiError && error.code === code && (error.reason === reason || error.reason === '');

export const isNotFound = hasReason(404, 'NotFound');
/** Somebody else changed the object meanwhile, or a UID or resourceVersion precondition did not hold. */
export const isConflict = hasReason(409, 'Conflict');
export const isAlreadyExists = hasReason(409, 'AlreadyExists');
export const isForbidden = hasReason(403, 'Forbidden');
export const isInvalid = hasReason(422, 'Invalid');

/** 410: the resourceVersion or continue token is older than what the server remembers. */
export function isExpired(error: unknown): error is ApiError {
  return error instanceof ApiError && error.code === 410;
}

/** The API server could not be asked, or could not answer now: worth asking again, says nothing about the object. */
export function isUnavailable(error: unknown): boolean {
  return (
    error instanceof TransportError ||
    (error instanceof ApiError && (error.code === 429 || error.code >= 500))
  );
}

/** `undefined` in place of a NotFound error. */
export async function orNotFound<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
