/** What the kubelet mounted of a Secret and a ConfigMap. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { MoverFailure } from '../failure.ts';

/** Set by us, or what would change how a message is read. */
const RESERVED =
  /^(host|connection|proxy-authorization|content-length|transfer-encoding|range|if-range|accept-encoding|upgrade|te|trailer)$/i;

/** What a proxy is told, from `proxyUser` (or `proxyUsername`) and `proxyPassword` of the Secret; the server never is. */
export function proxyHeaders(directory: string): Record<string, string> {
  const files = filesOf(directory);
  const user = files.get('proxyUser') ?? files.get('proxyUsername');
  const password = files.get('proxyPassword');
  return user === undefined && password === undefined ? {} : { 'Proxy-Authorization': basic(user, password) };
}

/** Headers that a Secret asks for: `user` (or `username`) and `password` become basic authentication, `headers` has lines. */
export function secretHeaders(directory: string): Record<string, string> {
  const files = filesOf(directory);
  const headers: Record<string, string> = {};
  const user = files.get('user') ?? files.get('username') ?? files.get('accessKeyId');
  const password = files.get('password') ?? files.get('secretKey');
  if (user !== undefined || password !== undefined) headers.Authorization = basic(user, password);
  for (const line of (files.get('headers') ?? '').split(/\r?\n/)) {
    if (line.trim() === '') continue;
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)$/.exec(line);
    // Never the line itself: it is a secret.
    if (match === null)
      throw new MoverFailure('SourceRefused', 'the Secret has a line in headers that is not "Name: value"');
    if (RESERVED.test(match[1]!))
      throw new MoverFailure('SourceRefused', `the Secret may not set the header ${match[1]}`);
    headers[match[1]!] = match[2]!.trim();
  }
  if (Object.keys(headers).length === 0 && !('Proxy-Authorization' in proxyHeaders(directory))) {
    throw new MoverFailure(
      'SourceRefused',
      'the Secret of the source has neither user and password nor headers',
    );
  }
  return headers;
}

function basic(user: string | undefined, password: string | undefined): string {
  const pair = `${user?.trim() ?? ''}:${password?.replace(/\r?\n$/, '') ?? ''}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

function filesOf(directory: string): Map<string, string> {
  return new Map(
    names(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')] as const),
  );
}

/** All of a folder's PEM, besides the authorities that Node trusts anyway. */
export function authorities(directory: string): string[] {
  const own = names(directory).map((name) => readFileSync(join(directory, name), 'utf8'));
  if (!own.some((text) => text.includes('-----BEGIN CERTIFICATE-----')))
    throw new MoverFailure('SourceRefused', 'the ConfigMap of the source has no certificate in PEM');
  return [...rootCertificates, ...own];
}

/** The kubelet's own links start with two dots. */
function names(directory: string): string[] {
  return readdirSync(directory).filter((name) => !name.startsWith('.'));
}
