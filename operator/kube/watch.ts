import type { IncomingMessage } from 'node:http';
import type { Status } from './errors.ts';
import type { KubeObject } from './object.ts';

/** One line of a watch. */
export type WatchEvent<T extends KubeObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | { readonly type: 'ERROR'; readonly object: Status };

/** More than etcd's own limit (1.5 MiB) by far: a longer line is no watch event. */
const LINE_LIMIT = 16 * 1024 * 1024;

/** A line that is no watch event: something may have been missed, so who reads must list anew. */
export class BadLineError extends Error {
  override readonly name = 'BadLineError';
  constructor(line: string, cause?: unknown) {
    super(`not a watch event: ${line.slice(0, 200)}`, { cause });
  }
}

/** Nothing, not even a bookmark, for too long: the connection may be half open. */
export class SilentError extends Error {
  override readonly name = 'SilentError';
  constructor(ms: number) {
    super(`no data for ${ms / 1000} s`);
  }
}

/** The lines of a watch's body as events; ends when the server ends the watch. */
export async function* watchEvents<T extends KubeObject>(
  body: IncomingMessage,
  silentAfterMs: number,
): AsyncGenerator<WatchEvent<T>> {
  body.setEncoding('utf8');
  const deadline = setTimeout(() => body.destroy(new SilentError(silentAfterMs)), silentAfterMs);
  let rest = '';
  try {
    for await (const chunk of body) {
      deadline.refresh();
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop()!;
      if (rest.length > LINE_LIMIT) throw new BadLineError(rest);
      for (const line of lines) {
        if (line.trim() !== '') yield parse<T>(line);
      }
    }
    if (rest.trim() !== '') throw new BadLineError(rest);
  } finally {
    clearTimeout(deadline);
    body.destroy();
  }
}

const TYPES = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

function parse<T extends KubeObject>(line: string): WatchEvent<T> {
  let event: WatchEvent<T>;
  try {
    event = JSON.parse(line) as WatchEvent<T>;
  } catch (error) {
    throw new BadLineError(line, error);
  }
  const known = TYPES.has(event?.type) && typeof event.object === 'object' && event.object !== null;
  if (!known) throw new BadLineError(line);
  if (event.type !== 'ERROR' && typeof event.object.metadata?.resourceVersion !== 'string') {
    throw new BadLineError(line);
  }
  return event;
}
