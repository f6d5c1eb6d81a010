/** Errors → one message that says what to do, and an exit code. */
import { VmsteadError } from '../crds/errors.ts';
import { ApiError, TransportError } from '../operator/kube/errors.ts';
import { exitCodeOf } from './exit-codes.ts';

export interface Explanation {
  readonly message: string;
  readonly exitCode: number;
}

export function explain(error: unknown): Explanation {
  const known = toVmsteadError(error);
  if (known !== undefined)
    return { message: `${known.message} (${known.code})`, exitCode: exitCodeOf(known.code) };
  return { message: error instanceof Error ? error.message : String(error), exitCode: 1 };
}

/** OpenSSL's and Node's words for a server that is not the one of the kubeconfig. */
const CERTIFICATE = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

function toVmsteadError(error: unknown): VmsteadError | undefined {
  if (error instanceof VmsteadError) return error;
  if (error instanceof TransportError && CERTIFICATE.has(error.code)) {
    return new VmsteadError(
      'Unreachable',
      `what answers at the address of the API server has a certificate that the kubeconfig does not vouch for (${error.code}): it is another cluster's, or a proxy's; choose another --context or fetch the kubeconfig again`,
      { cause: error },
    );
  }
  if (error instanceof TransportError) {
    return new VmsteadError(
      'Unreachable',
      `the API server cannot be reached: ${error.message}; check --context and the network`,
      { cause: error },
    );
  }
  if (!(error instanceof ApiError)) return undefined;
  if (error.code === 401) {
    return new VmsteadError(
      'Unauthorized',
      'the API server does not accept the credentials of this context; log in again or choose another --context',
      { cause: error },
    );
  }
  if (error.code === 403) return forbidden(error);
  if (error.code === 404 && error.details?.name === undefined) {
    return new VmsteadError(
      'NotInstalled',
      'this cluster does not know the kinds of Vmstead; install its Helm chart, or choose another --context',
      { cause: error },
    );
  }
  return undefined;
}

const DENIED =
  /User "(?<user>.*?)" cannot (?<verb>\w+) resource "(?<resource>.*?)" in API group "(?<group>.*?)"(?: in the namespace "(?<namespace>.*?)")?/;

/** Names the verb and the resource, in the words in which a Role is written. */
function forbidden(error: ApiError): VmsteadError {
  const said = DENIED.exec(error.statusMessage)?.groups;
  if (said === undefined) return new VmsteadError('Forbidden', error.statusMessage, { cause: error });
  const { user, verb, resource, group, namespace } = said as Record<string, string | undefined>;
  const where = namespace === undefined ? 'in the whole cluster' : `in namespace ${namespace}`;
  return new VmsteadError(
    'Forbidden',
    `user ${user} may not ${verb} ${resource}${group ? `.${group}` : ''} ${where}; ` +
      `a Role bound to it must have {apiGroups: ["${group}"], resources: ["${resource}"], verbs: ["${verb}"]}`,
    { cause: error },
  );
}
