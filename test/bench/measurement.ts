/** What a bench hands over: rows of figures, each with what it was measured with. */
import type { DiskJob, DiskVariant } from './benches/disk.ts';
import type { Summary } from './statistics.ts';

export const BENCHES = [
  'start',
  'api',
  'delete',
  'burst',
  'memory',
  'idle',
  'image',
  'import',
  'disk',
] as const;
export type BenchName = (typeof BENCHES)[number];

export type Unit =
  | 's'
  | 'MiB'
  | 'MiB/s'
  | 'IOPS'
  | 'MB'
  | 'requests'
  | 'requests/min'
  | 'millicores'
  | 'times'
  | '';

/** One figure; a series of single runs, or one value. */
export interface Figure {
  id: FigureId;
  unit: Unit;
  summary: Summary;
}

export type FigureId =
  | `start.${'floor' | 'ours' | 'difference'}.${'running' | 'guestUp'}`
  | `api.${'floor' | 'ours'}.${'all' | 'writes' | 'events'}`
  | `delete.${'floor' | 'ours'}`
  | `burst.${'floor' | 'ours' | 'ratio'}`
  | 'burst.leasesLost'
  | 'burst.restarts'
  | `memory.${'floor.alone' | 'alone' | 'alone.private' | 'ten' | 'ten.private' | 'request' | 'buffer' | 'podOfRequest'}`
  | `idle.${'pss' | 'cpu' | 'requests' | 'leases'}`
  | 'image.unpacked'
  | `import.${'floor' | 'ours' | 'ratio'}.${'xz' | 'raw'}`
  | 'import.memory'
  | 'import.memory.helpers'
  | 'import.space'
  | `disk.${'guest' | 'outside'}.${DiskJob}.${DiskVariant}`;

export interface Measurement {
  bench: BenchName;
  figures: Figure[];
  /** More to tell than figures: breakdowns, for people who want to know where it goes. */
  notes: string[];
}
