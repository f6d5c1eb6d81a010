/** Round trips longer than this, in milliseconds, tell too little about when the server looked at its clock. */
const QUICK_MS = 1_000;
/** Milliseconds by which we may differ: the header has whole seconds, and API servers differ a little too. */
const TOLERANCE_MS = 2_000;

/**
 * What time the API server has, in milliseconds since the epoch. Times in objects are compared with this and not with
 * the clock of the node that the operator happens to run on: with that one ten minutes fast, a lease that was taken a
 * moment ago would be an orphan and a crash back-off over before it began.
 *
 * Between two answers it goes on by a monotonic clock, so that a clock that is set does not move it either.
 */
export class ClusterClock {
  readonly #monotonic: () => number;
  #offset: number;

  /** @param wall what to go by until the API server has answered */
  constructor(wall: () => number = Date.now, monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
    this.#offset = wall() - monotonic();
  }

  now(): number {
    return this.#monotonic() + this.#offset;
  }

  /**
   * Learns from an answer that has just come.
   *
   * @param date its `Date` header (RFC 9110, section 6.6.1): whole seconds, cut off
   * @param roundTripMs milliseconds since its request was sent
   */
  heard(date: string | undefined, roundTripMs: number): void {
    const told = Date.parse(date ?? '');
    if (Number.isNaN(told) || roundTripMs > QUICK_MS) return;
    const theirs = told + 500;
    if (Math.abs(theirs - this.now()) > TOLERANCE_MS) this.#offset = theirs - this.#monotonic();
  }
}
