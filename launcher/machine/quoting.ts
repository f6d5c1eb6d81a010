/**
 * How a string gets into a QEMU option without changing its meaning. Options with a JSON form take JSON;
 * in the others a comma separates, and is doubled where it is meant.
 * Source: https://www.qemu.org/docs/master/system/invocation.html
 */
import { InvalidMachine } from './invalid-machine.ts';

type Json = null | string | number | boolean | Json[] | { [key: string]: Json | undefined };
export type JsonOptions = { [key: string]: Json | undefined };

/** `key=value,…`: the form of options that have no JSON form. An undefined value leaves its key out. */
export function keyval(
  first: string,
  options: Record<string, string | number | boolean | undefined>,
): string {
  const parts = [escaped(first)];
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    parts.push(`${key}=${escaped(text)}`);
  }
  return parts.filter((part) => part !== '').join(',');
}

function escaped(text: string): string {
  return plain(text).replaceAll(',', ',,');
}

/** A string that is an argument of its own. No argument of a process can hold a NUL. */
export function plain(text: string): string {
  if (text.includes('\0'))
    throw new InvalidMachine('the machine description has a NUL character in a string');
  return text;
}

export function json(options: JsonOptions): string {
  return JSON.stringify(options);
}
