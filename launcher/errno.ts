/** `code` of a system call's error (ENOENT, EBUSY, …), if it is one. */
export function errno(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
