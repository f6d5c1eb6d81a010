// The door of every npm script: runs with whatever Node (20 or newer) the machine has, makes sure that node_modules
// is what package-lock.json says, and goes on with the Node that is pinned there.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const bin = join(root, 'node_modules', '.bin');

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Whether what npm noted in node_modules is what the lock file wants; optional packages may be missing. */
function isFresh() {
  const wanted = readLock('package-lock.json');
  const installed = readLock('node_modules/.package-lock.json');
  if (!wanted || !installed) return false;
  const same = Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true;
    const there = installed[path];
    return there ? there.version === version && there.integrity === integrity : optional === true;
  });
  return same && Object.keys(installed).every((path) => path in wanted);
}

function run(command, args, env = process.env) {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env });
    const forward = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
    child.once('error', (error) => {
      console.error(`${command}: ${error.message}`);
      done(127);
    });
    child.once('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, forward);
      done(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

const major = Number(process.versions.node.split('.')[0]);
if (major < 20) {
  console.error(`Node ${process.versions.node} is too old: Vmstead needs Node 20 or newer.`);
  process.exit(1);
}
if (!isFresh()) {
  const start = Date.now();
  console.log('npm packages …');
  const code = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  if (code !== 0) {
    console.error('npm could not install the packages: see its message above.');
    process.exit(code);
  }
  console.log(`npm packages: done (${Math.round((Date.now() - start) / 1000)} s)`);
}
const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` };
process.exit(await run(join(bin, 'node'), [join(root, 'setup', 'main.ts'), ...process.argv.slice(2)], env));
