/**
 * zod and the API server agree on every object: what `npx vmstead run` and the operator take is what can be
 * applied. Thousands of objects, each right or broken at one place, with every rule and every bound hit both
 * ways. AGREEMENT_SEED repeats a run.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_VERSION } from '../../crds/api.ts';
import { KINDS, type Kind } from '../../crds/kinds.ts';
import { read } from '../../crds/read.ts';
import { objectSchema, type StructuralSchema } from '../../crds/to-crd.ts';
import { ApiError } from '../../operator/kube/errors.ts';
import { kubectl } from '../cluster/kubectl.ts';
import { BREAKERS } from './agreement/breakers.ts';
import { type Mutation, mutationsOf, wire } from './agreement/mutations.ts';
import { repairImage, repairVirtualMachine } from './agreement/repair.ts';
import { type SchemaSite, schemaSites, sitesOf } from './agreement/sites.ts';
import { type Json, seedStrings, valid } from './agreement/specs.ts';
import { type ServerWithCrds, startServerWithCrds } from './support/crds.ts';

const SEED = Number(process.env.AGREEMENT_SEED ?? Math.floor(Math.random() * 2 ** 31));
/**
 * What CEL says to a whole number that is written as a fraction, such as 1.0. JavaScript cannot tell it from
 * 1, and nothing that goes through kubectl or a YAML parser reaches the API server so.
 */
const FLOAT = 'expected int, got float64';
/** Requests under way at once. */
const PARALLEL = 12;

let cluster: ServerWithCrds;
beforeAll(async () => {
  cluster = await startServerWithCrds();
  console.log(`AGREEMENT_SEED=${SEED}`);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

interface Case {
  readonly text: string;
  /** Constraint that was broken, or for an object that is right `undefined`. */
  readonly broken?: string | undefined;
  readonly mustFail: boolean;
}

interface Verdict {
  readonly accepted: boolean;
  /** `path: message` of each complaint. */
  readonly complaints: readonly string[];
}

/** The spec's part of a kind's schema, with metadata as far as a CRD may speak of it. */
function specSchema(kind: Kind) {
  const { status: _, ...properties } = objectSchema(kind).properties!;
  return { ...objectSchema(kind), properties };
}

/** Rules that zod can check: those on one object, not on a change. */
function rulesOf(sites: readonly SchemaSite[]): { id: string; leaf: boolean; path: string; at: string }[] {
  return sites.flatMap(({ path, schema }) =>
    (schema['x-kubernetes-validations'] ?? [])
      .filter(({ rule }) => !rule.includes('oldSelf'))
      .map(({ message, fieldPath = '' }) => ({
        id: `${path}: ${message}`,
        leaf: schema.type === 'string',
        path,
        at: `${path}${fieldPath}: ${message}`,
      })),
  );
}

const names = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/);

function objectOf(kind: Kind, schema: StructuralSchema, target: string, seed: number): Json {
  const spec = fc.sample(valid(schema.properties!.spec!, '.spec', target), { seed, numRuns: 1 })[0]!;
  const name = fc.sample(names, { seed, numRuns: 1 })[0]!;
  const object: Json = { apiVersion: API_VERSION, kind: kind.kind, metadata: { name }, spec };
  if (kind.kind === 'VirtualMachine') return repairVirtualMachine(object, target);
  if (kind.kind === 'VirtualMachineImage') return repairImage(object, target);
  if (kind.kind === 'VirtualMachineSnapshotSchedule') return repairSchedule(object, target);
  return kind.kind === 'VirtualMachineRestore' ? repairRestore(object, target) : repairOperation(object);
}

function repairSchedule(schedule: Json, target: string): Json {
  const { spec } = schedule as { spec: { virtualMachine?: string; selector?: object } };
  if (target.startsWith('.spec.selector')) delete spec.virtualMachine;
  else if (spec.virtualMachine !== undefined) delete spec.selector;
  if (spec.virtualMachine === undefined && spec.selector === undefined) {
    if (target.startsWith('.spec.selector')) spec.selector = { matchLabels: { app: 'web' } };
    else spec.virtualMachine = 'web';
  }
  return schedule;
}

function repairRestore(restore: Json, target: string): Json {
  const { spec } = restore as { spec: { snapshot?: string; lastValid?: boolean } };
  if (target === '.spec.lastValid') delete spec.snapshot;
  else delete spec.lastValid;
  if (spec.snapshot === undefined) {
    if (target === '.spec.lastValid') spec.lastValid = true;
    else spec.snapshot = 'before';
  }
  return restore;
}

function repairOperation(operation: Json): Json {
  const { spec } = operation as { spec: { type: string; force?: boolean } };
  if (spec.force && spec.type !== 'Stop' && spec.type !== 'Restart') spec.force = false;
  return operation;
}

function* cases(kind: Kind): Generator<Case> {
  seedStrings(SEED);
  const schema = specSchema(kind);
  const sites = [...schemaSites(schema.properties.spec!, '.spec')];
  let seed = SEED;
  for (const { path, schema: target } of sites) {
    yield { text: wire(objectOf(kind, schema, path, ++seed)), mustFail: false };
    for (const mutation of mutationsOf(target)) {
      const object = objectOf(kind, schema, path, ++seed);
      const site = [...sitesOf(object, schema)].find((each) => each.path === path);
      if (site === undefined) throw new Error(`no ${path} in ${wire(object)} (seed ${seed})`);
      apply(mutation, site, seed);
      yield {
        text: wire(object),
        mustFail: mutation.breaks,
        broken: mutation.breaks ? `${path} ${mutation.name}` : undefined,
      };
    }
    // As many right ones as broken ones.
    for (const _ of mutationsOf(target)
      .filter(({ breaks }) => breaks)
      .slice(1)) {
      yield { text: wire(objectOf(kind, schema, path, ++seed)), mustFail: false };
    }
  }
  for (const { id, leaf } of rulesOf([...schemaSites(schema)])) {
    if (leaf) continue;
    const breaker = BREAKERS[id];
    if (breaker === undefined) throw new Error(`test/api/agreement/breakers.ts does not break "${id}"`);
    for (let times = 0; times < 3; times++) {
      const object = objectOf(kind, schema, '.spec', ++seed);
      breaker(object);
      yield { text: wire(object), mustFail: true, broken: id };
    }
  }
}

function apply(mutation: Mutation, site: Parameters<Mutation['apply']>[0], seed: number): void {
  let draws = seed;
  mutation.apply(site, (list) => {
    draws = Math.imul(draws ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
    return list[draws % list.length]!;
  });
}

function askZod(kind: Kind, text: string): Verdict {
  const { mistakes } = read(kind.schema, JSON.parse(text));
  const complaints = mistakes.map(({ path, message }) => `${generic(path)}: ${message}`);
  return { accepted: mistakes.length === 0, complaints };
}

function generic(path: readonly PropertyKey[]): string {
  return path.map((step) => (typeof step === 'number' ? '[]' : `.${String(step)}`)).join('');
}

async function askApiServer(kind: Kind, text: string): Promise<Verdict> {
  try {
    await cluster.transport.request({
      method: 'POST',
      path: `/apis/${API_VERSION}/namespaces/default/${kind.plural}?dryRun=All&fieldValidation=Strict`,
      body: text,
      verb: 'create',
      resource: kind.plural,
      deadlineMs: 300_000,
    });
    return { accepted: true, complaints: [] };
  } catch (error) {
    if (!(error instanceof ApiError) || ![400, 422].includes(error.code)) throw error;
    const complaints = error.details?.causes?.map(
      ({ field = '', message = '' }) =>
        `.${field.replaceAll(/\[\d+\]/g, '[]')}: ${message.replace(/^Invalid value: (?:".*": )?/s, '')}`,
    );
    return { accepted: false, complaints: complaints ?? [error.statusMessage] };
  }
}

it('kubectl spells whole numbers as such', async () => {
  const manifest = `{apiVersion: ${API_VERSION}, kind: VirtualMachine, metadata: {name: web}, spec: {memory: {size: 1Gi}, cpu: {cores: 2.0}, kernel: {image: a, path: /a}}}`;
  const args = ['create', '--dry-run=server', '-o', 'jsonpath={.spec.cpu.cores}', '-f', '-'];
  expect(await kubectl(cluster.server.kubeconfigPath, args, manifest)).toBe('2');
});

describe.each(KINDS)('$kind', (kind) => {
  it('is judged alike by zod and by the API server', async () => {
    const sites = [...schemaSites(specSchema(kind))];
    const rules = rulesOf(sites);
    const held = new Set<string>();
    const broken = new Set<string>();
    const all = [...cases(kind)];
    const disagreements: string[] = [];
    let refused = 0;
    let spelling = 0;
    const queue = all.values();
    const work = async (): Promise<void> => {
      for (const { text, broken: constraint, mustFail } of queue) {
        const zod = askZod(kind, text);
        const server = await askApiServer(kind, text);
        if (!server.accepted) refused++;
        if (server.complaints.some((each) => each.includes(FLOAT))) spelling++;
        else if (zod.accepted !== server.accepted) {
          disagreements.push(
            `${text}\n  zod: ${zod.accepted ? 'accepted' : zod.complaints.join('; ')}\n  API server: ${server.accepted ? 'accepted' : server.complaints.join('; ')}`,
          );
        } else if (mustFail === server.accepted && (mustFail || constraint !== undefined)) {
          disagreements.push(`${text}\n  should be refused (${constraint}) but both accept it`);
        }
        if (server.accepted) {
          for (const { path } of sitesOf(JSON.parse(text) as Json, specSchema(kind))) held.add(path);
        } else {
          if (constraint !== undefined) broken.add(constraint);
          for (const { id, at } of rules) if (server.complaints.includes(at)) broken.add(id);
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));

    console.log(
      `${kind.kind}: ${all.length} objects, ${refused} refused, ${rules.length} rules, ${spelling} spelled as floats`,
    );
    expect(disagreements.slice(0, 5).join('\n')).toBe('');
    expect(
      sites.map(({ path }) => path).filter((path) => path.startsWith('.spec') && !held.has(path)),
    ).toEqual([]);
    expect(rules.filter(({ id, path }) => !broken.has(id) || !held.has(path)).map(({ id }) => id)).toEqual(
      [],
    );
    const constraints = all.flatMap(({ broken: constraint }) => constraint ?? []);
    expect(constraints.filter((constraint) => !broken.has(constraint))).toEqual([]);
    expect(refused / all.length).toBeGreaterThan(0.4);
    expect(refused / all.length).toBeLessThan(0.7);
    if (kind.kind === 'VirtualMachine') expect(all.length).toBeGreaterThan(2000);
  }, 900_000);
});
