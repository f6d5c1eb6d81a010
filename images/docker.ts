import { spawn } from 'node:child_process';

/** Runs the Docker CLI and returns what it wrote to stdout; its stderr goes into the error. */
export async function docker(args: readonly string[], onLine?: (line: string) => void): Promise<string> {
  // The classic builder is there with every engine, Debian's (which has no buildx) included.
  const child = spawn('docker', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  });
  let stdout = '';
  let stderr = '';
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine?.(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT'
          ? new Error('docker is not installed: on Debian, apt-get install docker.io')
          : error,
      ),
    );
    child.once('close', resolve);
  });
  if (code !== 0) {
    const words = (stderr.trim() || stdout.trim()).split('\n').slice(-30).join('\n');
    throw new Error(`docker ${args.slice(0, 2).join(' ')} failed (exit code ${code}):\n${words}`);
  }
  return stdout;
}

/** The images below a name that the engine has: reference → identifier. */
export async function localImages(name: string): Promise<Map<string, string>> {
  const format = '{{.Repository}}:{{.Tag}} {{.ID}}';
  const text = await docker(['image', 'ls', '--no-trunc', '--format', format, `${name}/*`]);
  return new Map(text.split('\n').map((line) => line.split(' ') as [string, string]));
}

/** Whether the engine has an image of that reference. */
export async function hasImage(reference: string): Promise<boolean> {
  const found = await docker(['image', 'ls', '--quiet', reference]);
  return found.trim() !== '';
}
