/** The promised figures, each tied to the bench that measures it, beside what the peer needs for the same. */
import type { BenchName, FigureId, Unit } from './measurement.ts';

export interface Goal {
  title: string;
  bench: BenchName;
  unit: Unit;
  /** Rows without a floor of their own have none. */
  floor?: FigureId;
  /** KubeVirt's figure, as it was measured; see the page for where and how. */
  kubevirt: string;
  ours: FigureId;
  goal: string;
  /** Runs that a verdict needs, where one run says little. */
  least?: number;
  /** Whether the promise is kept. The medians of what was measured are asked for by id. */
  kept: (median: (id: FigureId) => number | undefined) => boolean | undefined;
}

const atMost =
  (id: FigureId, most: number): Goal['kept'] =>
  (median) => {
    const value = median(id);
    return value === undefined ? undefined : value <= most;
  };

const atLeast =
  (id: FigureId, least: number): Goal['kept'] =>
  (median) => {
    const value = median(id);
    return value === undefined ? undefined : value >= least;
  };

/** Times of single VMs vary: fewer runs than these say nothing. */
const ONE_VM_RUNS = 15;

export const GOALS: readonly Goal[] = [
  {
    title: 'create → guest up, one VM',
    bench: 'start',
    unit: 's',
    floor: 'start.floor.guestUp',
    kubevirt: '7.87',
    ours: 'start.ours.guestUp',
    goal: 'floor + 0.3',
    least: ONE_VM_RUNS,
    kept: atMost('start.difference.guestUp', 0.3),
  },
  {
    title: 'create → Running (the status says that the machine runs)',
    bench: 'start',
    unit: 's',
    floor: 'start.floor.running',
    kubevirt: '3.75',
    ours: 'start.ours.running',
    goal: '0.9',
    least: ONE_VM_RUNS,
    kept: atMost('start.ours.running', 0.9),
  },
  {
    title: '20 VMs at once, last guest up',
    bench: 'burst',
    unit: 's',
    floor: 'burst.floor',
    kubevirt: '84, leader lost',
    ours: 'burst.ours',
    goal: '1.15 × floor',
    kept: atMost('burst.ratio', 1.15),
  },
  {
    title: '… leader leases lost',
    bench: 'burst',
    unit: 'times',
    kubevirt: 'in both runs',
    ours: 'burst.leasesLost',
    goal: '0',
    kept: atMost('burst.leasesLost', 0),
  },
  {
    title: '… restarts of the control plane',
    bench: 'burst',
    unit: 'times',
    kubevirt: 'in both runs',
    ours: 'burst.restarts',
    goal: '0',
    kept: atMost('burst.restarts', 0),
  },
  {
    title: 'launcher pod beyond QEMU, PSS, alone on the node',
    bench: 'memory',
    unit: 'MiB',
    floor: 'memory.floor.alone',
    kubevirt: '105',
    ours: 'memory.alone',
    goal: '50',
    kept: atMost('memory.alone', 50),
  },
  {
    title: '… of ten on a node',
    bench: 'memory',
    unit: 'MiB',
    kubevirt: '45',
    ours: 'memory.ten',
    goal: '16',
    kept: atMost('memory.ten', 16),
  },
  {
    title: '… private to one launcher pod',
    bench: 'memory',
    unit: 'MiB',
    kubevirt: 'not measured',
    ours: 'memory.ten.private',
    goal: '20',
    kept: atMost('memory.ten.private', 20),
  },
  {
    title: "pod's memory request over the guest's RAM",
    bench: 'memory',
    unit: 'MiB',
    kubevirt: '301',
    ours: 'memory.request',
    goal: '90, under emulation the code buffer on top',
    kept: (median) => {
      const request = median('memory.request');
      const buffer = median('memory.buffer');
      return request === undefined || buffer === undefined ? undefined : request - buffer <= 90;
    },
  },
  {
    title: '… of which QEMU may use for translated code (emulation only)',
    bench: 'memory',
    unit: 'MiB',
    kubevirt: 'not booked',
    ours: 'memory.buffer',
    goal: 'bounded',
    kept: (median) => (median('memory.buffer') === undefined ? undefined : true),
  },
  {
    title: '… left over, with the guest up for a minute',
    bench: 'memory',
    unit: 'MiB',
    kubevirt: '215',
    ours: 'memory.podOfRequest',
    goal: 'more than 0',
    kept: (median) => {
      const left = median('memory.podOfRequest');
      return left === undefined ? undefined : left > 0;
    },
  },
  {
    title: 'writes to pod and VM objects, create → up',
    bench: 'api',
    unit: 'requests',
    floor: 'api.floor.writes',
    kubevirt: '19',
    ours: 'api.ours.writes',
    goal: '11',
    kept: atMost('api.ours.writes', 11),
  },
  {
    title: 'all API requests, create → up',
    bench: 'api',
    unit: 'requests',
    floor: 'api.floor.all',
    kubevirt: '55',
    ours: 'api.ours.all',
    goal: '26',
    kept: atMost('api.ours.all', 26),
  },
  {
    title: 'control plane idle on two nodes, PSS',
    bench: 'idle',
    unit: 'MiB',
    kubevirt: '717',
    ours: 'idle.pss',
    goal: '180',
    kept: atMost('idle.pss', 180),
  },
  {
    title: '… CPU',
    bench: 'idle',
    unit: 'millicores',
    kubevirt: '30',
    ours: 'idle.cpu',
    goal: '10',
    kept: atMost('idle.cpu', 10),
  },
  {
    title: '… API requests, leases not among them',
    bench: 'idle',
    unit: 'requests/min',
    kubevirt: '125',
    ours: 'idle.requests',
    goal: '20',
    kept: atMost('idle.requests', 20),
  },
  {
    title: '… and leases',
    bench: 'idle',
    unit: 'requests/min',
    kubevirt: 'not measured',
    ours: 'idle.leases',
    goal: '20 with the above',
    kept: (median) => {
      const [requests, leases] = [median('idle.requests'), median('idle.leases')];
      return requests === undefined || leases === undefined ? undefined : requests + leases <= 20;
    },
  },
  {
    title: 'delete → pod gone (grace 0)',
    bench: 'delete',
    unit: 's',
    floor: 'delete.floor',
    kubevirt: '3.08',
    ours: 'delete.ours',
    goal: '1.0',
    least: ONE_VM_RUNS,
    kept: atMost('delete.ours', 1),
  },
  {
    title: 'launcher image, unpacked',
    bench: 'image',
    unit: 'MB',
    kubevirt: '648',
    ours: 'image.unpacked',
    goal: '400',
    kept: atMost('image.unpacked', 400),
  },
  {
    title: 'image of 2 GiB over loopback HTTP, qcow2.xz',
    bench: 'import',
    unit: 's',
    floor: 'import.floor.xz',
    kubevirt: 'not measured',
    ours: 'import.ours.xz',
    goal: 'floor / 0.9',
    least: 3,
    kept: atLeast('import.ratio.xz', 0.9),
  },
  {
    title: '… and raw',
    bench: 'import',
    unit: 's',
    floor: 'import.floor.raw',
    kubevirt: 'not measured',
    ours: 'import.ours.raw',
    goal: 'floor / 0.9',
    least: 3,
    kept: atLeast('import.ratio.raw', 0.9),
  },
  {
    title: '… memory of the mover',
    bench: 'import',
    unit: 'MiB',
    kubevirt: 'not measured',
    ours: 'import.memory',
    goal: '128',
    kept: atMost('import.memory', 128),
  },
  {
    title: '… room in the claim, of the data',
    bench: 'import',
    unit: 'times',
    kubevirt: 'not measured',
    ours: 'import.space',
    goal: '1.02',
    kept: atMost('import.space', 1.02),
  },
];
