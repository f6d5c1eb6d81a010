import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { helmPath } from '../../../setup/deploy.ts';

export const chartDirectory = join(import.meta.dirname, '../../../helm');

/** An object in the chart's output. */
export interface ChartObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into objects of every kind
  [field: string]: any;
}

const images = ['operator', 'launcher', 'agent'].map((name) => `images.${name}=vmstead/${name}:test`);

/** Runs helm; throws with what it said. */
export async function helm(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(helmPath(), args, { maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}

/** What the chart makes of some values, as text. */
export async function renderChart(...values: string[]): Promise<string> {
  return await helm(
    ...['template', 'vmstead', chartDirectory, '--namespace', 'vmstead-system', '--kube-version', '1.36.3'],
    ...[...images, ...values].flatMap((value) => ['--set', value]),
  );
}

/** The same, as objects. */
export async function chartObjects(...values: string[]): Promise<ChartObject[]> {
  return parseAllDocuments(await renderChart(...values))
    .map((document) => document.toJS() as ChartObject | null)
    .filter((object) => object !== null);
}
