/** The chart, by helm and by the real API server. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { type ChartObject, chartDirectory, chartObjects, helm, renderChart } from './support/chart.ts';

let objects: ChartObject[];
beforeAll(async () => {
  objects = await chartObjects();
});

function find(kind: string, name: string): ChartObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (!found) throw new Error(`the chart has no ${kind} ${name}`);
  return found;
}

describe('the chart', () => {
  it('passes helm lint', async () => {
    const images = ['operator', 'launcher', 'agent'].flatMap((name) => ['--set', `images.${name}=x`]);
    expect(await helm('lint', '--strict', chartDirectory, ...images)).toContain('0 chart(s) failed');
  });

  it('has the project’s version, and the generated CRDs, which outlive it', async () => {
    const project = JSON.parse(await readFile(join(chartDirectory, '../package.json'), 'utf8'));
    expect(await readFile(join(chartDirectory, 'Chart.yaml'), 'utf8')).toContain(
      `appVersion: ${project.version}\n`,
    );
    const crds = objects.filter(({ kind }) => kind === 'CustomResourceDefinition');
    expect(crds.map(({ metadata }) => metadata.name).sort()).toEqual([
      'virtualmachineimages.vmstead.io',
      'virtualmachineoperations.vmstead.io',
      'virtualmachinerestores.vmstead.io',
      'virtualmachines.vmstead.io',
      'virtualmachinesnapshots.vmstead.io',
      'virtualmachinesnapshotschedules.vmstead.io',
    ]);
    for (const crd of crds)
      expect(crd.metadata.annotations).toMatchObject({ 'helm.sh/resource-policy': 'keep' });
    const without = await chartObjects('crds.install=false');
    expect(without.filter(({ kind }) => kind === 'CustomResourceDefinition')).toEqual([]);
  });

  it.each([
    ['images.operator=', 'images.operator is not set: run "npm run images -- --push REGISTRY"'],
    ['operator.replica=3', "additional properties 'replica' not allowed"],
    ['operator.replicas=-1', 'minimum'],
    ['agent.kvm.minimumByNode.worker-1=fast', '/agent/kvm/minimumByNode/worker-1'],
    ['logLevel=loud', '/logLevel'],
    ['watchNamespace=No_Name', '/watchNamespace'],
  ])('refuses %s in words', async (value, message) => {
    await expect(renderChart(value)).rejects.toThrow(message);
  });

  it('gives each node its threshold as a whole number, also a large one', async () => {
    const all = await chartObjects('agent.kvm.minimumByNode.worker-2=1000000000');
    const agent = all.find(({ metadata, kind }) => kind === 'DaemonSet' && metadata.name === 'vmstead-agent');
    const env = agent?.spec.template.spec.containers[0].env;
    const value = (name: string) => env.find((each: { name: string }) => each.name === name)?.value;
    expect(value('VMSTEAD_KVM_MINIMUM')).toBe('400000000');
    expect(JSON.parse(value('VMSTEAD_KVM_MINIMUM_BY_NODE'))).toEqual({ 'worker-2': 1_000_000_000 });
  });
});

describe('rights', () => {
  const rulesOf = (kind: string, name: string) =>
    (
      find(kind, name).rules as {
        apiGroups: string[];
        resources: string[];
        verbs: string[];
        resourceNames?: string[];
      }[]
    )
      .flatMap(({ resources, verbs, resourceNames = ['*'] }) =>
        resources.map((resource) => `${resource} ${resourceNames}: ${verbs.join(' ')}`),
      )
      .sort();

  it('of the operator over VMs, in all namespaces: no Secret, no write to a VM but its status', () => {
    expect(rulesOf('ClusterRole', 'vmstead-operator')).toEqual([
      'events *: get list watch create patch',
      'leases *: get list watch create update delete',
      'limitranges *: get list watch',
      'persistentvolumeclaims *: get list watch create patch',
      'pods *: get list watch create patch delete',
      'resourcequotas *: get list watch',
      'virtualmachineimages *: get list watch',
      'virtualmachineimages/finalizers *: update',
      'virtualmachineimages/status *: get patch',
      'virtualmachineoperations *: get list watch delete',
      'virtualmachineoperations/status *: get patch',
      'virtualmachinerestores *: get list watch',
      'virtualmachinerestores/status *: get patch',
      'virtualmachines *: get list watch',
      'virtualmachines/finalizers *: update',
      'virtualmachines/status *: get patch',
      'virtualmachinesnapshots *: get list watch create delete',
      'virtualmachinesnapshots/status *: get patch',
      'virtualmachinesnapshotschedules *: get list watch',
      'virtualmachinesnapshotschedules/status *: get patch',
    ]);
    expect(rulesOf('ClusterRole', 'vmstead-operator-cluster')).toEqual([
      'nodes *: get list watch',
      'persistentvolumes *: get list watch',
      'storageclasses *: get list watch',
      'tokenreviews *: create',
    ]);
  });

  it('of the operator in its own namespace: one Secret by name', () => {
    expect(rulesOf('Role', 'vmstead-operator-own')).toEqual([
      'endpointslices *: get create patch',
      'leases *: create',
      'leases vmstead-operator: get watch update',
      'secrets *: create',
      'secrets vmstead-channel: get update',
    ]);
  });

  it('of the agent: none', () => {
    const subjects = objects
      .filter(({ kind }) => kind.endsWith('RoleBinding'))
      .flatMap((binding) => binding.subjects as { name: string }[]);
    expect(new Set(subjects.map(({ name }) => name))).toEqual(
      new Set(['vmstead-operator', 'vmstead-uninstall']),
    );
    for (const name of ['vmstead-agent', 'vmstead-prover']) {
      const { spec } = find('DaemonSet', name).spec.template;
      expect([spec.automountServiceAccountToken, spec.hostNetwork, spec.hostPID]).toEqual([
        false,
        undefined,
        undefined,
      ]);
    }
  });

  it('of an operator for one namespace end there', async () => {
    const all = await chartObjects('watchNamespace=team-a');
    const cluster = all.filter(({ kind }) => kind === 'ClusterRole').map(({ metadata }) => metadata.name);
    expect(cluster.sort()).toEqual([
      'vmstead-admin',
      'vmstead-edit',
      'vmstead-operator-cluster',
      'vmstead-view',
    ]);
    const role = all.find(({ kind, metadata }) => kind === 'Role' && metadata.name === 'vmstead-operator');
    expect(role?.metadata.namespace).toBe('team-a');
    expect(role?.rules).toEqual(find('ClusterRole', 'vmstead-operator').rules);
    // Beside it only the nodes' signs of life, and its own namespace.
    const others = all.filter(
      ({ kind, metadata }) =>
        kind === 'Role' && metadata.namespace !== 'team-a' && metadata.name.startsWith('vmstead-operator'),
    );
    expect(others.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      'kube-node-lease/vmstead-operator-nodes',
      'vmstead-system/vmstead-operator-own',
    ]);
    expect(others[0]?.rules).toEqual([
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get'] },
    ]);
  });
});

describe('the real API server', () => {
  let server: ApiServer;
  const admin = (...args: string[]) => kubectl(server.kubeconfigPath, args);
  beforeAll(async () => {
    server = await startApiServer();
    await admin('wait', '--for=jsonpath={.status.phase}=Active', 'namespace/default', '--timeout=30s');
    const restricted = 'pod-security.kubernetes.io/enforce=restricted';
    for (const namespace of ['vmstead-system', 'vmstead-agent', 'team-a']) {
      await admin('create', 'namespace', namespace);
    }
    await admin('label', 'namespace', 'vmstead-system', restricted);
  });
  afterAll(() => server?.stop());

  const apply = async (list: ChartObject[]) =>
    await kubectl(
      server.kubeconfigPath,
      ['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-'],
      list.map((object) => stringify(object)).join('---\n'),
    );

  it.each([[[]], [['watchNamespace=team-a', 'operator.replicas=1', 'agent.createNamespace=false']]])(
    'takes all of it, strictly, with %j',
    async (values) => {
      const all = (await chartObjects(...values)).filter(({ kind }) => kind !== 'Namespace');
      const answers = (await apply(all)).trim().split('\n');
      expect(answers).toHaveLength(all.length);
      expect(answers.filter((line) => !line.endsWith('serverside-applied (server dry run)'))).toEqual([]);
    },
  );

  it('takes operator and uninstall pods in a namespace with Pod Security restricted', async () => {
    const templates = [
      ['operator', find('Deployment', 'vmstead-operator')],
      ['uninstall', find('Job', 'vmstead-uninstall')],
    ] as const;
    for (const [name, { spec }] of templates) {
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'vmstead-system' },
        ...spec.template,
      };
      pod.metadata = { ...spec.template.metadata, name, namespace: 'vmstead-system' };
      expect(await apply([pod])).toContain('serverside-applied');
    }
    // The agent's would not be: its namespace is the one place that is privileged.
    const { spec } = find('DaemonSet', 'vmstead-agent');
    const metadata = { name: 'agent', namespace: 'vmstead-system' };
    const refused = apply([{ apiVersion: 'v1', kind: 'Pod', metadata, spec: spec.template.spec }]);
    await expect(refused).rejects.toThrow('violates PodSecurity "restricted:latest"');
    expect(find('Namespace', 'vmstead-agent').metadata.labels).toMatchObject({
      'pod-security.kubernetes.io/enforce': 'privileged',
    });
  });
});

it('PodMonitors are there when asked for, and not before', async () => {
  expect(objects.filter(({ kind }) => kind === 'PodMonitor')).toEqual([]);
  const monitors = (await chartObjects('monitoring.podMonitors=true')).filter(
    ({ kind }) => kind === 'PodMonitor',
  );
  expect(monitors.map(({ metadata, spec }) => [metadata.name, spec.podMetricsEndpoints[0].port])).toEqual([
    ['vmstead-operator', 'http'],
    ['vmstead-agent', 'metrics'],
    ['vmstead-launchers', 'metrics'],
  ]);
});
