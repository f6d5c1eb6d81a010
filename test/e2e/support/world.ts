/** What a failed test shows: status, pods, events, and the last words of guest and operator. */
import { stringify } from 'yaml';
import { LABEL } from '../../../crds/api.ts';
import { releaseNamespace } from '../../../setup/deploy.ts';
import { kubectl } from '../../cluster/kubectl.ts';
import type { Bed } from './bed.ts';

export async function worldOf(bed: Bed, vm: string): Promise<string> {
  const { kubeconfigPath } = bed.cluster;
  const section = async (title: string, text: Promise<string>): Promise<string> =>
    `--- ${title}\n${(await text.catch(String)).trimEnd()}`;
  const launcherLines = async (): Promise<string> => {
    const log = await bed.kubectl('logs', '--tail=40', '--prefix', '-l', `${LABEL.vm}=${vm}`);
    return log
      .split('\n')
      .filter((line) => !line.includes('VMSTEAD-SECTOR '))
      .map(short)
      .join('\n');
  };
  const operatorLines = async (): Promise<string> => {
    const log = await kubectl(kubeconfigPath, [
      ...['logs', '-n', releaseNamespace, '-l', 'app.kubernetes.io/component=operator'],
      ...['--tail=400', '--prefix'],
    ]);
    const about = log
      .split('\n')
      .filter((line) => line.includes(`"${vm}"`) || /"level":"(error|fatal)"/.test(line));
    return about.slice(-25).map(short).join('\n');
  };
  const parts = await Promise.all([
    section(
      'status',
      bed.vm(vm).then(({ status }) => stringify(status ?? 'none')),
    ),
    section(
      'pods',
      bed.podsOf(vm).then((list) =>
        list
          .map(({ metadata, spec, status }) =>
            JSON.stringify({
              name: metadata.name,
              node: spec?.nodeName,
              deleted: metadata.deletionTimestamp,
              finalizers: metadata.finalizers,
              phase: status?.phase,
              container: status?.containerStatuses?.[0]?.state,
            }),
          )
          .join('\n'),
      ),
    ),
    section(
      'events',
      bed
        .kubectl('get', 'events', '--sort-by=.lastTimestamp')
        .then((text) => text.split('\n').slice(-20).join('\n')),
    ),
    section('launcher and guest', launcherLines()),
    section('operator', operatorLines()),
  ]);
  return parts.join('\n');
}

const short = (line: string): string => (line.length > 400 ? `${line.slice(0, 400)}…` : line);
