/** An operator's end of the channel, just enough of one to speak with a launcher: TLS, the upgrade, lines. */

import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  CHANNEL_PROTOCOL,
  type CommandName,
  type DownMessage,
  type LauncherReport,
  type UpMessage,
  upMessage,
} from '../../../crds/channel.ts';
import type { SnapshotOrder } from '../../../crds/snapshot-order.ts';

const run = promisify(execFile);
const NAME = 'operator.test';

type Answer = { error?: { code: string; message: string } | undefined };

export class TestOperator implements AsyncDisposable {
  readonly address: string;
  readonly caCertificate: string;
  readonly serverName = NAME;
  /** Status of the answer to the next dial; 101 takes it. */
  answer = 101;
  readonly hellos: Extract<UpMessage, { type: 'hello' }>[] = [];
  readonly tokens: string[] = [];
  report: LauncherReport | undefined;
  private readonly server: Server;
  private socket: Socket | undefined;
  private readonly results = new Map<string, (answer: Answer) => void>();

  private constructor(server: Server, address: string, caCertificate: string) {
    this.server = server;
    this.address = address;
    this.caCertificate = caCertificate;
  }

  /** @param host address of this machine that a launcher in a container reaches; @param folder for key and certificate */
  static async start(host: string, folder: string): Promise<TestOperator> {
    await mkdir(folder, { recursive: true });
    const key = join(folder, 'key.pem');
    const certificate = join(folder, 'certificate.pem');
    await run('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...[
        '-subj',
        `/CN=${NAME}`,
        '-addext',
        `subjectAltName=DNS:${NAME}`,
        '-keyout',
        key,
        '-out',
        certificate,
      ],
    ]);
    const cert = await readFile(certificate, 'utf8');
    const server = createServer({ key: await readFile(key), cert });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const operator = new TestOperator(server, `${host}:${port}`, cert);
    server.on('upgrade', (request, socket) => {
      operator.tokens.push(request.headers.authorization ?? '');
      operator.take(socket as Socket);
    });
    await writeFile(join(folder, 'token'), 'a-token');
    return operator;
  }

  /** Sends a command and waits for its result. */
  async command(id: string, name: CommandName): Promise<Answer> {
    const result = new Promise<Answer>((resolve) => this.results.set(id, resolve));
    this.send({ type: 'command', id, name });
    return await result;
  }

  /** Asks for something about snapshots and waits for its result. */
  async snapshot(id: string, order: { take?: SnapshotOrder; forget?: string }): Promise<Answer> {
    const result = new Promise<Answer>((resolve) => this.results.set(id, resolve));
    this.send({ type: 'snapshot', id, ...order });
    return await result;
  }

  send(message: DownMessage): void {
    this.socket?.write(`${JSON.stringify(message)}\n`);
  }

  cut(): void {
    this.socket?.destroy();
  }

  private take(socket: Socket): void {
    if (this.answer !== 101) {
      socket.end(`HTTP/1.1 ${this.answer} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${CHANNEL_PROTOCOL}\r\nConnection: Upgrade\r\n\r\n`,
    );
    this.socket = socket;
    let rest = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      // The launcher keeps to the messages' own bounds.
      for (const line of lines) this.receive(upMessage.parse(JSON.parse(line)));
    });
  }

  private receive(message: UpMessage): void {
    if (message.type === 'hello') this.hellos.push(message);
    else if (message.type === 'report') this.report = message.report;
    else if (message.type === 'result') this.results.get(message.id)?.({ error: message.error });
    else this.send({ type: 'heartbeat' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
