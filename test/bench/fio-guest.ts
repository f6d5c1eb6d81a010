/** The tiny guest with Debian's fio in it: an initial RAM disk may be several archives, one after the other. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTools, type TinyGuest } from '../../images/guests/build.ts';
import { tinyGuest } from '../qemu/support/launcher.ts';

const SCRIPT = `apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fio >/dev/null 2>&1
for file in /usr/bin/fio $(ldd /usr/bin/fio | grep -o '/[^ ]*'); do
  mkdir -p /tmp/root$(dirname $file)
  cp -L $file /tmp/root$file
done
cd /tmp/root && find . | cpio --quiet -o -H newc -R 0:0 >/output/fio.cpio`;

/** @returns kernel and initrd, the latter in a folder that goes with the guest */
export async function fioGuest(
  say: (message: string) => void,
): Promise<Pick<TinyGuest, 'kernel' | 'initrd'> & AsyncDisposable> {
  const { kernel, initrd } = await tinyGuest();
  const folder = await mkdtemp(join(tmpdir(), 'vmstead-fio-'));
  say('fio for the guest');
  await runTools(folder, say, `{ ${SCRIPT}; }`);
  const path = join(folder, 'initrd.img');
  await writeFile(path, Buffer.concat([await readFile(initrd), await readFile(join(folder, 'fio.cpio'))]));
  return {
    kernel,
    initrd: path,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
