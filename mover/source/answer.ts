/** What the head of an HTTP answer means for an import. Pure. */
import type { IncomingHttpHeaders } from 'node:http';

export interface Validators {
  etag?: string;
  lastModified?: string;
  total?: number;
}

export type Answer =
  /** The body is the source from `from` on. */
  | { kind: 'body'; from: number; validators: Validators }
  /** The source is shorter than `from`. */
  | { kind: 'tooShort'; total?: number }
  | { kind: 'redirect'; location: string }
  | { kind: 'refused'; retry: boolean; afterSeconds?: number };

const REDIRECTS = [301, 302, 303, 307, 308];
/** Of the client's errors, those that time may cure. */
const PASSING = [408, 421, 425, 429];

export function readAnswer(status: number, headers: IncomingHttpHeaders): Answer {
  if (REDIRECTS.includes(status) && headers.location !== undefined)
    return { kind: 'redirect', location: headers.location };
  const { etag, 'last-modified': lastModified } = headers;
  const validators: Validators = {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  };
  if (status === 200) {
    const length = number(headers['content-length']);
    return {
      kind: 'body',
      from: 0,
      validators: { ...validators, ...(length === undefined ? {} : { total: length }) },
    };
  }
  const range = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
  const total = number(range?.[3]);
  if (status === 206 && range?.[1] !== undefined) {
    return {
      kind: 'body',
      from: Number(range[1]),
      validators: { ...validators, ...(total === undefined ? {} : { total }) },
    };
  }
  if (status === 416) return { kind: 'tooShort', ...(total === undefined ? {} : { total }) };
  const after = number(headers['retry-after']);
  return {
    kind: 'refused',
    retry: status >= 500 || PASSING.includes(status),
    ...(after === undefined ? {} : { afterSeconds: after }),
  };
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Whether two answers can be of the same content; undefined: nothing tells. */
export function sameContent(before: Validators, now: Validators): boolean | undefined {
  if (before.total !== undefined && now.total !== undefined && before.total !== now.total) return false;
  if (before.etag !== undefined && now.etag !== undefined) return before.etag === now.etag;
  if (before.lastModified !== undefined && now.lastModified !== undefined)
    return before.lastModified === now.lastModified;
  return undefined;
}

/** Value of If-Range: a weak tag may not stand there (RFC 9110, 13.1.5). */
export function ifRange({ etag, lastModified }: Validators): string | undefined {
  return etag !== undefined && !etag.startsWith('W/') ? etag : lastModified;
}
