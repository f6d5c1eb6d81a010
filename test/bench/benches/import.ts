/**
 * Images over loopback HTTP: the mover in its image, beside what a shell would do, in turns. Both end when the
 * data are on the storage.
 */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MoverResult } from '../../../crds/mover.ts';
import { MoverBox, WORK } from '../../qemu/support/mover.ts';
import type { Figure, FigureId, Measurement, Unit } from '../measurement.ts';
import { summarize } from '../statistics.ts';

const run = promisify(execFile);
const GIB = 1024 ** 3;
const DISK_BYTES = 2 * GIB;

type Kind = 'xz' | 'raw';
const SERVED: Readonly<Record<Kind, string>> = { xz: 'disk.qcow2.xz', raw: 'disk.raw' };

interface Import {
  seconds: number;
  /** Resident memory at its highest, in MiB: of the mover, and of it and its helpers together. */
  moverMiB: number;
  allMiB: number;
  /** Bytes in the claim, over those of the source's own data. */
  space: number;
}

export async function importing(
  { say }: { say(message: string): void },
  rounds: number,
): Promise<Measurement> {
  await run('curl', ['--version']).catch(() => {
    throw new Error('the floor of this bench is curl, which is not installed: apt-get install curl');
  });
  await using box = await MoverBox.open();
  say('import: making a disk of 2 GiB');
  await makeDisk(box);
  await using server = await serveFolder(box.directory);
  const series = new Map<FigureId, { unit: Unit; values: number[] }>();
  const note = (id: FigureId, unit: Unit, value: number) => {
    const one = series.get(id) ?? { unit, values: [] };
    one.values.push(value);
    series.set(id, one);
  };
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const kind of ['xz', 'raw'] as const) {
      const url = `${server.url}/${SERVED[kind]}`;
      const floor = () => shell(box, url, kind);
      const ours = () => mover(box, url, kind);
      const [first, second] = round % 2 === 0 ? [floor, ours] : [ours, floor];
      const results = [await first(), await second()];
      const [seconds, told] = (round % 2 === 0 ? results : results.reverse()) as [number, Import];
      if (round === 0) continue;
      say(
        `import ${kind}: floor ${seconds.toFixed(2)} s, mover ${told.seconds.toFixed(2)} s, ${told.moverMiB.toFixed(0)} MiB`,
      );
      note(`import.floor.${kind}`, 's', seconds);
      note(`import.ours.${kind}`, 's', told.seconds);
      note(`import.ratio.${kind}`, '', seconds / told.seconds);
      note('import.memory', 'MiB', told.moverMiB);
      note('import.memory.helpers', 'MiB', told.allMiB);
      note('import.space', '', told.space);
    }
  }
  const figures = [...series].map(
    ([id, { unit, values }]): Figure => ({ id, unit, summary: summarize(values) }),
  );
  const sizes = await Promise.all(
    Object.values(SERVED).map(
      async (name) => `${name}: ${Math.round((await stat(join(box.directory, name))).size / 1e6)} MB`,
    ),
  );
  return {
    bench: 'import',
    figures,
    notes: [
      `A disk of 2 GiB, some 700 MB of it programs and libraries. Served: ${sizes.join(', ')}. The floor is \`curl | xz -d > file\` and \`curl -o file\`, with \`sync\`; the mover hashes, looks into the image and finds the holes besides. Ratio: floor by mover, pair by pair. Memory is resident, pages of files included; of \`import.memory.helpers\` xz or qemu-img are part.`,
    ],
  };
}

/** Programs as they lie on disks, with holes between: xz has something to do. */
async function makeDisk(box: MoverBox): Promise<void> {
  await box.sh(
    [
      'tar -cf part /usr/bin /usr/lib 2>/dev/null || true',
      `truncate -s ${DISK_BYTES} disk.raw`,
      'for at in 16 528 1040; do head -c 240M part | dd of=disk.raw bs=1M seek=$at conv=notrunc,sparse status=none; done',
      'rm part',
      'qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2',
      'xz -1 -T2 -c disk.qcow2 > disk.qcow2.xz',
    ].join('\n'),
  );
}

/** @returns seconds */
async function shell(box: MoverBox, url: string, kind: Kind): Promise<number> {
  const file = join(box.directory, 'floor');
  await run('sync');
  const began = performance.now();
  const pipe = kind === 'xz' ? `curl -sSf ${url} | xz -d > ${file}` : `curl -sSf -o ${file} ${url}`;
  await run('sh', ['-ec', `${pipe}; sync ${file}`]);
  const seconds = (performance.now() - began) / 1000;
  await rm(file);
  return seconds;
}

/** The mover's own clock begins when its program is loaded; the shell's time is that of the whole process. */
async function mover(box: MoverBox, url: string, kind: Kind): Promise<Import> {
  const target = 'imported';
  const directory = join(box.directory, target);
  await mkdir(directory, { recursive: true });
  await run('chmod', ['777', directory]);
  await run('sync');
  const job = {
    version: 1,
    image: { namespace: 'bench', name: 'bench', uid: 'bench' },
    attempt: 1,
    source: { type: 'http', url, allowPrivateAddresses: true },
    target: { type: 'file', directory: `${WORK}/${target}` },
    maxVirtualBytes: 2 * DISK_BYTES,
  };
  const told = await box.sh(`
cat > job <<'END'
${JSON.stringify(job)}
END
VMSTEAD_JOB=job VMSTEAD_TERMINATION_LOG=result sh -c 'date +%s%N > began; /usr/lib/vmstead/mover 2>log; date +%s%N > ended' &
most=0; all=0
sleep 0.2
while kill -0 $! 2>/dev/null; do
  sum=0
  for status in /proc/[0-9]*/status; do
    name=; resident=0
    while read -r key value _; do
      case $key in Name:) name=$value ;; VmHWM:) peak=$value ;; VmRSS:) resident=$value ;; esac
    done < $status 2>/dev/null || continue
    case $name in
      node* | *MainThread) sum=$((sum + resident)); [ $peak -gt $most ] && most=$peak ;;
      xz | qemu-img) sum=$((sum + resident)) ;;
    esac
  done
  [ $sum -gt $all ] && all=$sum
  sleep 0.25
done
echo $(cat began) $(cat ended) $most $all
cat result`);
  const [line = '', json = ''] = told.split('\n');
  const result = JSON.parse(json) as MoverResult;
  if (result.result !== 'Succeeded' || result.image === undefined) throw new Error(json);
  const [began = 0, ended = 0, most = 0, all = 0] = line.split(' ').map(Number);
  const source = await dataBytes(join(box.directory, kind === 'xz' ? 'disk.qcow2' : 'disk.raw'));
  await rm(directory, { recursive: true });
  return {
    seconds: (ended - began) / 1e9,
    moverMiB: most / 1024,
    allMiB: all / 1024,
    space: result.image.actualBytes / source,
  };
}

async function dataBytes(path: string): Promise<number> {
  await using file = await open(path);
  return (await file.stat()).blocks * 512;
}

async function serveFolder(directory: string): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    const path = join(directory, (request.url ?? '').slice(1));
    void stat(path).then(({ size }) => {
      response.writeHead(200, { 'Content-Length': size, ETag: `"${size}"` });
      createReadStream(path, { highWaterMark: 1024 * 1024 }).pipe(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
