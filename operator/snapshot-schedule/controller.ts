/** The VirtualMachineSnapshotSchedule controller: it makes and deletes VirtualMachineSnapshots and nothing else. */
import { OPERATOR_NAME } from '../config.ts';
import type { OperatorDeps } from '../deps.ts';
import type { Cache } from '../kube/cache.ts';
import { Controller, type Outcome } from '../kube/controller.ts';
import { isAlreadyExists, orNotFound } from '../kube/errors.ts';
import type { SharedCaches } from '../shared-caches.ts';
import { type StoredSnapshot, virtualmachinesnapshots } from '../snapshot/resources.ts';
import { sameStatus } from '../virtual-machine/status.ts';
import { planSchedule } from './plan.ts';
import { type StoredSchedule, virtualmachinesnapshotschedules } from './resources.ts';

export function snapshotScheduleController(deps: OperatorDeps, shared: SharedCaches): Controller {
  const schedules = deps.cache(virtualmachinesnapshotschedules);
  const controller = new Controller({
    name: 'snapshot-schedule',
    reconcile: (key) => reconcile(deps, shared, schedules, key),
    log: deps.log,
    metrics: deps.metrics,
  });
  schedules.onChange(({ metadata }) => controller.enqueue(`${metadata.namespace}/${metadata.name}`));
  for (const cache of [shared.snapshots, shared.virtualMachines]) {
    cache.onChange(({ metadata: { namespace } }: { metadata: { namespace?: string } }) => {
      for (const { metadata } of schedules.list()) {
        if (metadata.namespace === namespace) controller.enqueue(`${namespace}/${metadata.name}`);
      }
    });
  }
  return controller;
}

async function reconcile(
  { client, log, now }: OperatorDeps,
  shared: SharedCaches,
  schedules: Cache<StoredSchedule>,
  key: string,
): Promise<Outcome> {
  const schedule = schedules.get(key);
  if (!schedule || schedule.metadata.deletionTimestamp !== undefined) return undefined;
  const { namespace = '', name, resourceVersion } = schedule.metadata;
  const here = (object: { metadata: { namespace?: string } }) => object.metadata.namespace === namespace;
  const { create, remove, status, after } = planSchedule({
    now: now().getTime(),
    schedule,
    virtualMachines: [...shared.virtualMachines.list()].filter(here),
    snapshots: [...shared.snapshots.list()].filter(here),
  });
  for (const { name: snapshot, labels, spec } of create) {
    try {
      await client.create(
        virtualmachinesnapshots,
        { metadata: { namespace, name: snapshot, labels }, spec } as Parameters<
          typeof client.create<StoredSnapshot>
        >[1],
        { fieldManager: OPERATOR_NAME },
      );
      log.info({ controller: 'snapshot-schedule', namespace, schedule: name, snapshot }, 'made');
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
  for (const { metadata } of remove) {
    const { uid } = metadata;
    await orNotFound(client.delete(virtualmachinesnapshots, { namespace, name: metadata.name }, { uid }));
    log.info(
      { controller: 'snapshot-schedule', namespace, schedule: name, snapshot: metadata.name },
      'let go',
    );
  }
  if (!sameStatus(schedule.status, status)) {
    const stored = await orNotFound(
      client.apply(
        virtualmachinesnapshotschedules,
        { metadata: { namespace, name, resourceVersion }, status },
        { fieldManager: OPERATOR_NAME, subresource: 'status' },
      ),
    );
    if (stored) schedules.remember(stored);
  }
  return after === undefined ? undefined : { after };
}
