import { describe, expect, it } from 'vitest';
import { VmsteadError } from '../crds/errors.ts';
import { ApiError, TransportError } from '../operator/kube/errors.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { explain } from './explain.ts';

const request = { method: 'POST', path: '/apis/vmstead.io/v1alpha1/x' };

describe('explain', () => {
  it('names the verb and the resource that a Role lacks', () => {
    const message =
      'virtualmachineoperations.vmstead.io is forbidden: User "jane" cannot create resource "virtualmachineoperations" in API group "vmstead.io" in the namespace "shop"';
    expect(explain(new ApiError(403, { reason: 'Forbidden', message }, request))).toEqual({
      message:
        'user jane may not create virtualmachineoperations.vmstead.io in namespace shop; a Role bound to it must have {apiGroups: ["vmstead.io"], resources: ["virtualmachineoperations"], verbs: ["create"]} (Forbidden)',
      exitCode: 5,
    });
  });

  it('speaks of a right in the whole cluster, and in the core group', () => {
    const message =
      'namespaces is forbidden: User "jane" cannot list resource "namespaces" in API group "" at the cluster scope';
    expect(explain(new ApiError(403, { message }, request)).message).toBe(
      'user jane may not list namespaces in the whole cluster; a Role bound to it must have {apiGroups: [""], resources: ["namespaces"], verbs: ["list"]} (Forbidden)',
    );
  });

  it('says when Vmstead is not installed', () => {
    expect(explain(new ApiError(404, { message: '404 page not found' }, request)).exitCode).toBe(4);
  });

  it('says when the API server cannot be reached', () => {
    const error = new TransportError('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:6443', request);
    expect(explain(error)).toEqual({
      message:
        'the API server cannot be reached: POST /apis/vmstead.io/v1alpha1/x: connect ECONNREFUSED 127.0.0.1:6443; check --context and the network (Unreachable)',
      exitCode: 6,
    });
  });

  it('says when another server answers', () => {
    const error = new TransportError('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'try --use-system-ca', request);
    expect(explain(error)).toEqual({
      message:
        "what answers at the address of the API server has a certificate that the kubeconfig does not vouch for (UNABLE_TO_VERIFY_LEAF_SIGNATURE): it is another cluster's, or a proxy's; choose another --context or fetch the kubeconfig again (Unreachable)",
      exitCode: 6,
    });
  });

  it.each([
    [new VmsteadError('Usage', 'x'), 2],
    [new VmsteadError('Timeout', 'x'), 3],
    [new VmsteadError('VmNotFound', 'x'), 4],
    [new ApiError(401, {}, request), 5],
    [new VmsteadError('VmNotRunning', 'x'), 7],
    [new VmsteadError('OperationFailed', 'x'), 1],
    [new ApiError(409, { message: 'Conflict' }, request), 1],
    [new Error('x'), 1],
  ])('%s ends with %i', (error, exitCode) => {
    expect(explain(error).exitCode).toBe(exitCode);
  });
});

it('uses each exit code once', () => {
  const codes = EXIT_CODES.map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
});
