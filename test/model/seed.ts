/**
 * The seed of all property tests: the same in each run, so that what failed fails again, and what a change did not
 * touch does not fail because of it. `VMSTEAD_PROPERTY_SEED=random` looks for what nobody has seen yet, any number
 * takes what such a run has printed.
 */
import fc from 'fast-check';

const given = process.env.VMSTEAD_PROPERTY_SEED;
if (given !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(given ?? 1) });
