import * as z from 'zod';

/** When a VM runs, as KubeVirt's users know the words. */
export const runStrategy = z.enum(['Always', 'RerunOnFailure', 'Once', 'Manual', 'Halted']);

export type RunStrategy = z.infer<typeof runStrategy>;
