import { describe, expect, it } from 'vitest';
import { costOf, parseRequests } from './audit.ts';

interface Line {
  id: string;
  verb: string;
  agent: string;
  resource: string;
  subresource?: string;
  namespace?: string;
  user?: string;
  stage?: string;
}

const line = ({ id, verb, agent, resource, subresource, namespace, user = 'admin', stage }: Line): string =>
  JSON.stringify({
    kind: 'Event',
    auditID: id,
    stage: stage ?? 'ResponseComplete',
    verb,
    user: { username: user },
    userAgent: agent,
    objectRef: { resource, ...(subresource && { subresource }), ...(namespace && { namespace }) },
    requestReceivedTimestamp: '2026-11-20T21:00:00.500000Z',
  });

const operator = 'system:serviceaccount:vmstead-system:vmstead-operator';
const kubelet = 'kubelet/v1.36.3 (linux/amd64)';
const bench = { agent: 'vmstead-bench', namespace: 'bench' };

describe('parseRequests', () => {
  it('counts a request once, however many stages the log tells of, and passes over torn lines', () => {
    const watch = { id: '1', verb: 'watch', agent: kubelet, resource: 'pods' };
    const text = [
      '"torn":"line"}',
      line({ ...watch, stage: 'ResponseStarted' }),
      line(watch),
      '{"auditID":"2","st',
    ].join('\n');
    expect(parseRequests(text)).toEqual([
      {
        at: Date.parse('2026-11-20T21:00:00.500Z'),
        verb: 'watch',
        resource: 'pods',
        namespace: undefined,
        client: 'kubelet',
      },
    ]);
  });

  it('calls parts of Vmstead by their account', () => {
    const text = line({ id: '1', verb: 'create', agent: 'anything/1', resource: 'pods', user: operator });
    expect(parseRequests(text)[0]?.client).toBe('vmstead-operator');
  });
});

describe('costOf', () => {
  const cost = (...lines: Line[]) => costOf(parseRequests(lines.map(line).join('\n')), 'bench');

  it('tells writes to pod and VM, events and leases apart', () => {
    expect(
      cost(
        { id: '1', verb: 'create', resource: 'virtualmachines', ...bench },
        { id: '2', verb: 'create', agent: 'o', user: operator, resource: 'pods', namespace: 'bench' },
        { id: '3', verb: 'create', agent: 'o', user: operator, resource: 'tokenreviews' },
        {
          id: '4',
          verb: 'update',
          agent: 'o',
          user: operator,
          resource: 'leases',
          namespace: 'vmstead-system',
        },
        {
          id: '5',
          verb: 'patch',
          agent: kubelet,
          resource: 'pods',
          subresource: 'status',
          namespace: 'bench',
        },
        { id: '6', verb: 'get', agent: kubelet, resource: 'pods', namespace: 'bench' },
        { id: '7', verb: 'create', agent: kubelet, resource: 'events', namespace: 'bench' },
      ),
    ).toEqual({
      all: 6,
      events: 1,
      writes: 3,
      leases: 1,
      by: {
        'vmstead-bench: create virtualmachines': 1,
        'vmstead-operator: create pods': 1,
        'vmstead-operator: create tokenreviews': 1,
        'kubelet: patch pods/status': 1,
        'kubelet: get pods': 1,
      },
    });
  });

  it('leaves out our own looking on, and what others do elsewhere', () => {
    expect(
      cost(
        { id: '1', verb: 'watch', resource: 'pods', ...bench },
        { id: '2', verb: 'get', resource: 'pods', subresource: 'log', ...bench },
        { id: '3', verb: 'patch', agent: kubelet, resource: 'nodes' },
        { id: '4', verb: 'list', agent: 'kubectl/v1', resource: 'pods', namespace: 'default' },
      ).all,
    ).toBe(0);
  });
});
