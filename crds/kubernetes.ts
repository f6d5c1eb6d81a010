/** The parts of Kubernetes' own API that a VirtualMachine takes over word for word into its pod. */
import * as z from 'zod';
import {
  atomicList,
  celString,
  described,
  integer,
  matching,
  type Rule,
  rules,
  stringMap,
  text,
} from './schema.ts';

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

const imageReference = matching(
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

const NAME_PART = '[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?';
/** The prefix of a qualified name is a DNS subdomain. */
const QUALIFIED = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = new RegExp(`^(${NAME_PART})?$`);

/** Keys as labels and annotations have them. */
function keyRule<S extends z.ZodType<Record<string, string>>>(what: string): Rule<S> {
  return {
    cel: `self.all(key, key.matches(${celString(QUALIFIED.source)}))`,
    message: `the key of ${what} must be a name such as tier or example.com/tier: at most 63 letters, digits, dots, hyphens and underscores behind the prefix`,
    holds: (map) => Object.keys(map).every((key) => QUALIFIED.test(key)),
  };
}

export function labelMap(maxEntries: number) {
  return rules(stringMap(maxEntries, 63), [
    keyRule('a label'),
    {
      cel: `self.all(key, self[key].matches(${celString(LABEL_VALUE.source)}))`,
      message:
        'the value of a label must be letters, digits, dots, hyphens and underscores, with a letter or digit at both ends, or empty',
      holds: (map) => Object.values(map).every((value) => LABEL_VALUE.test(value)),
    },
  ]);
}

const labelKey = text(317, 1);
const key = described('Key of the label.', labelKey);
const topologyKey = described('Label of the node whose equal values make one domain.', labelKey);
const values = described(
  'Values to compare with; none for Exists and DoesNotExist.',
  atomicList(text(63), 64),
).optional();
const weight = described('How much it counts, from 1 to 100.', integer(1, 100));

const labelSelectorRequirement = z.strictObject({
  key,
  operator: described('How the label compares.', z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])),
  values,
});

const labelSelector = z.strictObject({
  matchLabels: described('Labels that must all be there.', labelMap(32)).optional(),
  matchExpressions: described(
    'Requirements that must all hold.',
    atomicList(labelSelectorRequirement, 32),
  ).optional(),
});

const nodeSelectorRequirement = z.strictObject({
  key,
  operator: described(
    'How the label compares.',
    z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']),
  ),
  values,
});

const nodeSelectorTerm = z.strictObject({
  matchExpressions: described(
    "Requirements on the node's labels that must all hold.",
    atomicList(nodeSelectorRequirement, 32),
  ).optional(),
  matchFields: described(
    "Requirements on the node's fields that must all hold.",
    atomicList(nodeSelectorRequirement, 32),
  ).optional(),
});

const podAffinityTerm = z.strictObject({
  labelSelector: described('The pods that are meant.', labelSelector).optional(),
  namespaceSelector: described('Namespaces of those pods, by their labels.', labelSelector).optional(),
  namespaces: described('Namespaces of those pods, by name.', atomicList(dnsLabel(), 32)).optional(),
  topologyKey,
});

function podAffinity(which: string) {
  return z.strictObject({
    requiredDuringSchedulingIgnoredDuringExecution: described(
      `Terms that must all hold for a node: ${which}.`,
      atomicList(podAffinityTerm, 16),
    ).optional(),
    preferredDuringSchedulingIgnoredDuringExecution: described(
      `Terms that make a node better: ${which}.`,
      atomicList(
        z.strictObject({ weight, podAffinityTerm: described('What is preferred.', podAffinityTerm) }),
        16,
      ),
    ).optional(),
  });
}

const affinity = z.strictObject({
  nodeAffinity: described(
    'Which nodes may or should take the VM.',
    z.strictObject({
      requiredDuringSchedulingIgnoredDuringExecution: described(
        'What a node must have.',
        z.strictObject({
          nodeSelectorTerms: described('Terms of which one must hold.', atomicList(nodeSelectorTerm, 16, 1)),
        }),
      ).optional(),
      preferredDuringSchedulingIgnoredDuringExecution: described(
        'What makes a node better.',
        atomicList(
          z.strictObject({ weight, preference: described('What is preferred.', nodeSelectorTerm) }),
          16,
        ),
      ).optional(),
    }),
  ).optional(),
  podAffinity: described('Pods to be near to.', podAffinity('the pods run in its domain')).optional(),
  podAntiAffinity: described(
    'Pods to be away from.',
    podAffinity('the pods do not run in its domain'),
  ).optional(),
});

const toleration = z.strictObject({
  key: described('Key of the taint. Absent, with operator Exists: every taint.', text(317)).optional(),
  operator: described('Equal (absent) or Exists.', z.enum(['Exists', 'Equal'])).optional(),
  value: described('Value of the taint, for Equal.', text(63)).optional(),
  effect: described(
    'Effect of the taint. Absent: all.',
    z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
  ).optional(),
  tolerationSeconds: described(
    'How long NoExecute is tolerated. Absent: for ever.',
    integer(0, 2 ** 31 - 1),
  ).optional(),
});

const topologySpreadConstraint = z.strictObject({
  maxSkew: described('Largest difference in the number of pods between two domains.', integer(1, 1000)),
  topologyKey,
  whenUnsatisfiable: described('What to do when no node fits.', z.enum(['DoNotSchedule', 'ScheduleAnyway'])),
  labelSelector: described('The pods that are counted.', labelSelector).optional(),
  minDomains: described('Fewest domains, with DoNotSchedule.', integer(1, 1000)).optional(),
});

/** What of the launcher pod a person may set. */
export const podTemplate = z.strictObject({
  nodeSelector: described('Labels that the node must have.', labelMap(32)).optional(),
  affinity: described('Nodes and pods to be near to or away from, as in a pod.', affinity).optional(),
  tolerations: described(
    'Taints of nodes that do not keep the VM away, as in a pod.',
    atomicList(toleration, 32),
  ).optional(),
  topologySpreadConstraints: described(
    'How to spread VMs over domains, as in a pod.',
    atomicList(topologySpreadConstraint, 16),
  ).optional(),
  priorityClassName: described('Name of a PriorityClass.', objectName()).optional(),
  schedulerName: described('Scheduler to use instead of the default one.', objectName()).optional(),
  imagePullSecrets: described(
    "Secrets of this namespace with which the kubelet pulls the VM's images.",
    atomicList(z.strictObject({ name: described('Name of the Secret.', objectName()) }), 16),
  ).optional(),
  labels: described(
    "Labels for the pod, beside the VirtualMachine's own, which it gets anyway.",
    labelMap(64),
  ).optional(),
  annotations: described(
    'Annotations for the pod.',
    rules(stringMap(64, 65536), [keyRule('an annotation')]),
  ).optional(),
});

/** `metav1.Condition`. */
export const condition = z.strictObject({
  type: described('What the condition is about.', text(316, 1)),
  status: described('Whether it holds.', z.enum(['True', 'False', 'Unknown'])),
  reason: described('Why, in one word.', text(1024, 1)),
  message: described('Why, in a sentence, and what a person can do.', text(32768)),
  lastTransitionTime: described(
    'Since when the status is what it is.',
    z.string().meta({ format: 'date-time' }),
  ),
  observedGeneration: described('Generation of the spec that it is about.', z.int().min(0)).optional(),
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
