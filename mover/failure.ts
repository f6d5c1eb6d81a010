import { type ErrorCode, VmsteadError } from '../crds/errors.ts';

/** Why an image was not made, and whether the same job may succeed later. */
export class MoverFailure extends VmsteadError {
  override readonly name = 'MoverFailure';
  readonly retry: boolean;

  constructor(code: ErrorCode, message: string, options: { retry?: boolean; cause?: unknown } = {}) {
    super(code, message, { cause: options.cause });
    this.retry = options.retry ?? false;
  }
}

export function unusable(message: string): MoverFailure {
  return new MoverFailure('ImageUnusable', message);
}

/**
 * What was taken so far is of something else than what the source has now, or can no longer be added to: begin
 * again from the first byte.
 */
export class BeginAgain extends Error {
  override readonly name = 'BeginAgain';
}
