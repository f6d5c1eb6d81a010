import { spawn } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheDirectory } from '../paths.ts';
import { hasProgram, installPackages, isRoot } from './packages.ts';
import { SetupError, type Step } from './step.ts';

const socketPath = '/var/run/docker.sock';
const timeout = 60_000;
/** Remembers the engine that we started by hand, so that `npm stop` ends it again. */
const recordPath = join(cacheDirectory, 'dockerd.json');
const logPath = join(cacheDirectory, 'dockerd.log');

/** Whether an engine answers: at `DOCKER_HOST` when a person set one, else at its usual socket. */
async function answers(): Promise<boolean> {
  const host = process.env.DOCKER_HOST;
  if (host && !host.startsWith('unix://')) return true;
  const path = host?.replace('unix://', '') ?? socketPath;
  return new Promise((resolve) => {
    const call = request({ socketPath: path, path: '/_ping' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on('error', () => resolve(false));
    call.setTimeout(3000, () => call.destroy());
    call.end();
  });
}

/** Where the engine and its containerd note their process numbers. */
const pidFiles = [
  ['dockerd', '/var/run/docker.pid'],
  ['containerd', '/var/run/docker/containerd/containerd.pid'],
] as const;

/**
 * An engine that was killed leaves its process numbers behind; when other processes have them by now, the next
 * engine believes that it runs already and gives up.
 */
async function forgetKilledEngine(): Promise<void> {
  for (const [program, path] of pidFiles) {
    const pid = Number(await readFile(path, 'utf8').catch(() => ''));
    if (pid > 0 && !(await isProgram(pid, program))) await rm(path, { force: true });
  }
}

async function startByHand(): Promise<void> {
  await mkdir(cacheDirectory, { recursive: true });
  await forgetKilledEngine();
  const log = openSync(logPath, 'a');
  const path = `${process.env.PATH}:/usr/sbin:/sbin`;
  const child = spawn('dockerd', [], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, PATH: path },
  });
  child.once('error', () => {});
  child.unref();
  await writeFile(recordPath, JSON.stringify({ pid: child.pid }));
}

export const dockerEngine: Step = {
  name: 'docker-engine',
  title: 'Docker engine',
  needs: ['debian-packages'],
  isDone: answers,
  async run(context) {
    if (!(await hasProgram('dockerd'))) {
      await installPackages(context, ['docker.io', 'iptables'], 'to run the cluster');
    }
    // Installing it may have started it.
    if (await answers()) return;
    if (!isRoot()) {
      throw new SetupError(
        'no Docker engine answers (or you may not use it): start it, or add yourself to the group "docker"',
      );
    }
    context.progress(undefined, 'starting it');
    if (existsSync('/run/systemd/system')) await context.run('systemctl', ['start', 'docker.service']);
    else await startByHand();
    const deadline = Date.now() + timeout;
    while (!(await answers())) {
      if (Date.now() > deadline) {
        const tail = await readFile(logPath, 'utf8').catch(() => '');
        context.log(tail.split('\n').slice(-15).join('\n'));
        throw new Error(`the Docker engine did not answer within ${timeout / 1000} s`);
      }
      await sleep(200);
    }
  },
};

/** Whether `pid` is (still) that program: process numbers are used again. */
async function isProgram(pid: number, program: string): Promise<boolean> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
  return name.trim() === program;
}

/** Ends the engine that we started by hand, unless containers still run there. Returns what was done, for a person. */
export async function stopDockerEngine(
  runningContainers: () => Promise<number>,
): Promise<string | undefined> {
  const record = await readFile(recordPath, 'utf8').catch(() => undefined);
  if (!record) return undefined;
  const { pid } = JSON.parse(record) as { pid: number };
  if (!(await isProgram(pid, 'dockerd'))) {
    await rm(recordPath, { force: true });
    return undefined;
  }
  const count = await runningContainers();
  if (count > 0) return `the Docker engine goes on: ${count} other containers run there`;
  process.kill(pid, 'SIGTERM');
  for (let wait = 0; wait < 150 && (await isProgram(pid, 'dockerd')); wait++) await sleep(200);
  await rm(recordPath, { force: true });
  return 'stopped the Docker engine';
}
