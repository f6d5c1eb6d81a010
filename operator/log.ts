import pino, { type Logger } from 'pino';

/** JSON lines on stdout, one thing a line; `docs/logging.md` lists the agreed keys. */
export function createLogger(level: string, destination?: pino.DestinationStream): Logger {
  const options: pino.LoggerOptions = {
    level,
    // The pod's own name is on every line that `kubectl logs` shows.
    base: null,
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.err },
  };
  // Synchronous: the last line before a kill is the one that counts.
  return pino(options, destination ?? pino.destination({ dest: 1, sync: true }));
}
