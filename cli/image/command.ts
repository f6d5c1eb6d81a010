/** `image list`, `image upload`. */

import { type StoredImage, virtualmachineimages } from '../../operator/image/resources.ts';
import { connect } from '../cluster.ts';
import type { Invocation } from '../invocation.ts';
import { usage } from '../usage.ts';

export async function image(invocation: Invocation): Promise<void> {
  const [action, ...names] = invocation.names;
  if (action === 'list' && names.length === 0) return await list(invocation);
  if (action === 'upload' && names.length === 2) {
    const { upload } = await import('./upload.ts');
    return await upload(invocation, imageName(names[0]!), names[1]!);
  }
  throw usage('image takes list, or upload NAME FILE', 'image');
}

async function list({ options, io }: Invocation): Promise<void> {
  const cluster = await connect(options);
  const all = options['all-namespaces'] === true;
  const images = await cluster.client.list(virtualmachineimages, all ? {} : { namespace: cluster.namespace });
  if (images.length === 0) {
    io.note(all ? 'There is no image.' : `There is no image in namespace ${cluster.namespace}.`);
    return;
  }
  const rows = images.map((each) => [...(all ? [each.metadata.namespace ?? ''] : []), ...cells(each)]);
  const head = [...(all ? ['NAMESPACE'] : []), 'NAME', 'PHASE', 'FORMAT', 'SIZE', 'STATE'];
  for (const line of columns([head, ...rows])) io.print(line);
}

/** Name, phase, format, size, and why it is not ready or how far it is. */
function cells({ metadata, status }: StoredImage): string[] {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const far = status?.progress?.percent;
  const why = ready === undefined ? 'not seen by the operator yet' : `${ready.reason}: ${ready.message}`;
  const state = ready?.status === 'True' ? 'complete' : far === undefined ? why : `${far} ${why}`;
  return [metadata.name, status?.phase ?? '', status?.format ?? '', status?.virtualSize ?? '', state];
}

export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** Name of an image, also when it is written as kubectl prints it: `vmimg/debian`. */
function imageName(text: string): string {
  const name = text.replace(/^(vmimg|virtualmachineimages?)(\.vmstead\.io)?\//, '');
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) || name.length > 50) {
    throw usage(`${JSON.stringify(text)} is no name of an image`, 'image');
  }
  return name;
}
