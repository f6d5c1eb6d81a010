/** Paths in an image: its symbolic links mean the image, never the launcher's own file system. */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { VmsteadError } from '../../crds/errors.ts';
import { errno } from '../errno.ts';

/** More links than any image needs; also ends a loop of links. */
const MOST_LINKS = 40;

/**
 * The real path of `path` with `root` as its root directory, as in a chroot: a link in an image that points
 * to `/etc/vmstead/token` must not put the launcher's token on a guest's disk.
 * Throws DiskUnusable when there is nothing, or a loop of links.
 */
export function resolveInside(root: string, path: string): string {
  const todo = path.split('/').reverse();
  const done: string[] = [];
  let links = 0;
  while (todo.length > 0) {
    const part = todo.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = join(root, ...done, part);
    const target = linkTarget(root, path, here);
    if (target === undefined) {
      done.push(part);
      continue;
    }
    if (++links > MOST_LINKS) {
      throw new VmsteadError('DiskUnusable', `${path} in the image is a loop of symbolic links`);
    }
    if (target.startsWith('/')) done.length = 0;
    todo.push(...target.split('/').reverse());
  }
  return join(root, ...done);
}

function linkTarget(root: string, path: string, here: string): string | undefined {
  try {
    return lstatSync(here).isSymbolicLink() ? readlinkSync(here) : undefined;
  } catch (error) {
    const code = errno(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new VmsteadError('DiskUnusable', `cannot read ${path} in the image mounted at ${root}: ${code}`, {
        cause: error,
      });
    }
    throw new VmsteadError(
      'DiskUnusable',
      `there is no ${path} in the image mounted at ${root}; correct the path in the spec, or the image`,
    );
  }
}
