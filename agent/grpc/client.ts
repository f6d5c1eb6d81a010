import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { decodeMessage, FrameReader, frame, GrpcError, STATUS } from './frames.ts';

/**
 * One unary call over a unix socket, on a connection of its own.
 *
 * @param timeout milliseconds
 * @throws GrpcError with the server's code, or `unavailable` when the socket does not answer
 */
export async function callGrpc(
  socket: string,
  path: string,
  request: Uint8Array,
  timeout: number,
): Promise<Buffer> {
  const session = connect('http://localhost', { createConnection: () => connectSocket(socket) });
  try {
    return await new Promise((resolve, reject) => {
      const fail = (code: number, text: string) =>
        reject(new GrpcError(code, `${path} on ${socket}: ${text}`));
      session.once('error', (error) => fail(STATUS.unavailable, error.message));
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const reader = new FrameReader();
      const messages: Buffer[] = [];
      let status: string | undefined;
      let text = '';
      const take = (headers: Record<string, unknown>) => {
        if (headers['grpc-status'] === undefined) return;
        status = String(headers['grpc-status']);
        text = decodeMessage(String(headers['grpc-message'] ?? ''));
      };
      stream.setTimeout(timeout, () => fail(STATUS.unavailable, `no answer in ${timeout} ms`));
      stream.on('response', take);
      stream.on('trailers', take);
      stream.on('data', (chunk: Buffer) => messages.push(...reader.push(chunk)));
      stream.on('error', (error) => fail(STATUS.unavailable, error.message));
      stream.on('close', () => {
        const [message] = messages;
        if (status !== '0') fail(Number(status ?? STATUS.unavailable), text || 'closed without an answer');
        else if (!message) fail(STATUS.internal, 'no message');
        else resolve(message);
      });
      stream.end(frame(request));
    });
  } finally {
    session.destroy();
  }
}
