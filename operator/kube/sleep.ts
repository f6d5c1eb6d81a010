/** Resolves after `ms`, or at once when the signal is aborted; says which by `signal.aborted`. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

/** `ms` give or take half of it, so that many clients do not come back in step. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random());
}
