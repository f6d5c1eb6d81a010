/**
 * Kubernetes quantities as Vmstead takes them: a plain decimal number with an optional binary or decimal
 * suffix. Exponents and milli-units, which `resource.Quantity` also reads, mean nothing for a disk.
 * Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
import { matching, rule } from './schema.ts';

const SUFFIX: Record<string, bigint> = {
  '': 1n,
  k: 1000n,
  M: 1000n ** 2n,
  G: 1000n ** 3n,
  T: 1000n ** 4n,
  Ki: 1024n,
  Mi: 1024n ** 2n,
  Gi: 1024n ** 3n,
  Ti: 1024n ** 4n,
};

const BYTES = /^[0-9]{1,15}(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|k|M|G|T)?$/;

/** Bytes of a quantity, rounded up to a whole byte. Throws a RangeError for what is no quantity. */
export function parseBytes(quantity: string): bigint {
  const match = /^([0-9]+)(?:\.([0-9]+))?([A-Za-z]*)$/.exec(quantity);
  const factor = SUFFIX[match?.[3] ?? '?'];
  if (!match || factor === undefined) {
    throw new RangeError(`"${quantity}" is not a quantity of bytes; write for example 512Mi or 10Gi`);
  }
  const fraction = match[2] ?? '';
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(match[1] + fraction) * factor;
  return (scaled + scale - 1n) / scale;
}

/** Bytes of a quantity, `undefined` for none and for what is no quantity. */
export function parsedBytes(quantity: string | undefined): bigint | undefined {
  return quantity !== undefined && BYTES.test(quantity) ? parseBytes(quantity) : undefined;
}

/** A quantity in the largest binary suffix that says it exactly. */
export function formatBytes(bytes: bigint): string {
  for (const suffix of ['Ti', 'Gi', 'Mi', 'Ki'] as const) {
    const factor = SUFFIX[suffix]!;
    if (bytes >= factor && bytes % factor === 0n) return `${bytes / factor}${suffix}`;
  }
  return bytes.toString();
}

/** A size in bytes between two quantities, both included. */
export function bytesBetween(min: string, max: string, what: string) {
  const low = parseBytes(min);
  const high = parseBytes(max);
  const size = matching(
    BYTES,
    32,
    'must be a size: a number with Ki, Mi, Gi, Ti, k, M, G, T or nothing behind it, such as 512Mi or 10Gi',
  );
  const celSize = `self.matches(r'${BYTES.source}')`;
  return rule(
    size,
    // The first half keeps the second from failing with a runtime error of its own on what is no quantity.
    `!${celSize} || (quantity(self).compareTo(quantity('${min}')) >= 0 && quantity(self).compareTo(quantity('${max}')) <= 0)`,
    `${what} must be between ${min} and ${max}`,
    (value) => {
      if (!BYTES.test(value)) return true;
      const bytes = parseBytes(value);
      return bytes >= low && bytes <= high;
    },
  );
}

const CPU = /^([0-9]{1,6}(\.[0-9]{1,3})?|[0-9]{1,9}m)$/;

/** An amount of CPU such as `2`, `0.5` or `250m`. */
export const cpuQuantity = matching(CPU, 16, 'must be an amount of CPU such as 2, 0.5 or 250m');

/** Thousandths of a CPU, `undefined` for none and for what is no amount of CPU. */
export function parsedCpu(quantity: string | undefined): number | undefined {
  if (quantity === undefined || !CPU.test(quantity)) return undefined;
  return quantity.endsWith('m') ? Number(quantity.slice(0, -1)) : Math.round(Number(quantity) * 1000);
}
