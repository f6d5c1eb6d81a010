/** The parts of Kubernetes' own API that a VirtualMachine takes over word for word into its pod. */
import * as z from 'zod';
import { atomicList, described, integer, matching, stringMap, text } from './schema.ts';

/** A DNS label (RFC 1123), the form of most names. */
export function dnsLabel(max = 63) {
  return matching(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    max,
    'must be lower-case letters, digits and hyphens, with a letter or digit at both ends',
  );
}

/** A DNS subdomain (RFC 1123): the name of most objects. */
export function objectName() {
  return matching(
    /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
    253,
    'must be the name of an object: lower-case letters, digits, hyphens and dots, with a letter or digit at both ends',
  );
}

export const imageReference = matching(
  /^[A-Za-z0-9][A-Za-z0-9._:@/-]*$/,
  500,
  'must be an image reference such as registry.example/debian:12',
);

export const containerImageFields = {
  image: described('Reference of the OCI image, with a tag or a digest.', imageReference),
  pullPolicy: described(
    'When the kubelet pulls the image: Always, IfNotPresent or Never. Absent: as for a container of a pod.',
    z.enum(['Always', 'IfNotPresent', 'Never']),
  ).optional(),
};

const labelKey = text(317, 1);

const labelSelectorRequirement = z.strictObject({
  key: labelKey,
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values: atomicList(text(63), 64).optional(),
});

const labelSelector = z.strictObject({
  matchLabels: stringMap(64, 63).optional(),
  matchExpressions: atomicList(labelSelectorRequirement, 32).optional(),
});

const nodeSelectorRequirement = z.strictObject({
  key: labelKey,
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']),
  values: atomicList(text(63), 64).optional(),
});

const nodeSelectorTerm = z.strictObject({
  matchExpressions: atomicList(nodeSelectorRequirement, 32).optional(),
  matchFields: atomicList(nodeSelectorRequirement, 32).optional(),
});

const podAffinityTerm = z.strictObject({
  labelSelector: labelSelector.optional(),
  namespaceSelector: labelSelector.optional(),
  namespaces: atomicList(dnsLabel(), 32).optional(),
  topologyKey: labelKey,
});

const podAffinity = z.strictObject({
  requiredDuringSchedulingIgnoredDuringExecution: atomicList(podAffinityTerm, 16).optional(),
  preferredDuringSchedulingIgnoredDuringExecution: atomicList(
    z.strictObject({ weight: integer(1, 100), podAffinityTerm }),
    16,
  ).optional(),
});

const affinity = z.strictObject({
  nodeAffinity: z
    .strictObject({
      requiredDuringSchedulingIgnoredDuringExecution: z
        .strictObject({ nodeSelectorTerms: atomicList(nodeSelectorTerm, 16, 1) })
        .optional(),
      preferredDuringSchedulingIgnoredDuringExecution: atomicList(
        z.strictObject({ weight: integer(1, 100), preference: nodeSelectorTerm }),
        16,
      ).optional(),
    })
    .optional(),
  podAffinity: podAffinity.optional(),
  podAntiAffinity: podAffinity.optional(),
});

const toleration = z.strictObject({
  key: text(317).optional(),
  operator: z.enum(['Exists', 'Equal']).optional(),
  value: text(63).optional(),
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
  tolerationSeconds: integer(0, 2 ** 31 - 1).optional(),
});

const topologySpreadConstraint = z.strictObject({
  maxSkew: integer(1, 1000),
  topologyKey: labelKey,
  whenUnsatisfiable: z.enum(['DoNotSchedule', 'ScheduleAnyway']),
  labelSelector: labelSelector.optional(),
  minDomains: integer(1, 1000).optional(),
});

/** What of the launcher pod a person may set. */
export const podTemplate = z.strictObject({
  nodeSelector: described('Labels that the node must have.', stringMap(32, 63)).optional(),
  affinity: described('As in a pod.', affinity).optional(),
  tolerations: described('As in a pod.', atomicList(toleration, 32)).optional(),
  topologySpreadConstraints: described('As in a pod.', atomicList(topologySpreadConstraint, 16)).optional(),
  priorityClassName: described('Name of a PriorityClass.', objectName()).optional(),
  schedulerName: described('Scheduler to use instead of the default one.', objectName()).optional(),
  imagePullSecrets: described(
    "Secrets of this namespace with which the kubelet pulls the VM's images.",
    atomicList(z.strictObject({ name: objectName() }), 16),
  ).optional(),
  labels: described(
    "Labels for the pod, beside the VirtualMachine's own, which it gets anyway.",
    stringMap(64, 63),
  ).optional(),
  annotations: described('Annotations for the pod.', stringMap(64, 65536)).optional(),
});

/** `metav1.Condition`. */
export const condition = z.strictObject({
  type: text(316, 1),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: text(1024, 1),
  message: text(32768),
  lastTransitionTime: z.string().meta({ format: 'date-time' }),
  observedGeneration: z.int().min(0).optional(),
});

export type Condition = z.infer<typeof condition>;

/** The part of an object's metadata that Vmstead reads. */
export const objectMeta = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  generation: z.int().optional(),
  resourceVersion: z.string().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
