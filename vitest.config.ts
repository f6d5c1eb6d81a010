import { defineConfig } from 'vitest/config';

const onCluster = ['test/cluster/global-setup.ts', 'test/e2e/support/global-setup.ts'];
/** Tests that stop nodes, the API server or the operator, or install the chart otherwise: nothing runs beside them. */
const alone = ['agent', 'cluster', 'faults', 'kubevirt', 'ownership', 'uninstall'].map(
  (name) => `test/e2e/${name}.test.ts`,
);

/** What needs a QEMU, an API server or a cluster lives below `test/`; everything else is quick and needs nothing. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{operator,launcher,mover,agent,cli,crds,setup,images,helm,test}/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/{qemu,api,e2e,long,scale}/**'],
          setupFiles: ['test/model/seed.ts'],
          // By default one core less: on two cores that is no parallelism at all.
          maxWorkers: '100%',
          // They hold no state of modules; loading these again for each file takes as long as the tests.
          isolate: false,
          // Each takes milliseconds; a machine that is busy with something else must not make one fail.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'qemu',
          include: ['test/qemu/**/*.test.ts'],
          globalSetup: ['test/qemu/support/global-setup.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'api',
          include: ['test/api/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          globalSetup: onCluster,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'faults',
          include: alone,
          globalSetup: onCluster,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          globalSetup: onCluster,
          testTimeout: 900_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
