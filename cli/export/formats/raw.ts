import type { WriterMaker } from './writer.ts';

/** The disk itself; what is zero stays a hole. */
export const rawWriter: WriterMaker = (sink, bytes) => ({
  write: async (offset, data) => await sink.write(offset, data),
  state: () => ({}),
  finish: async () => await sink.setLength(bytes),
});
