import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressesByMac, agentVersion, osName } from './facts.ts';

test('addresses of each card, without loopback and link-local ones', () => {
  const answer = [
    { name: 'lo', 'hardware-address': '00:00:00:00:00:00', 'ip-addresses': [{ 'ip-address': '127.0.0.1' }] },
    {
      name: 'enp0s8',
      'hardware-address': '52:54:00:AA:00:01',
      'ip-addresses': [
        { 'ip-address': '10.0.2.15' },
        { 'ip-address': 'fe80::1' },
        { 'ip-address': 'fec0::2' },
      ],
    },
  ];
  expect(addressesByMac(answer).get('52:54:00:aa:00:01')).toEqual(['10.0.2.15', 'fec0::2']);
});

test('a guest that lies is bounded', () => {
  const many = Array.from({ length: 10_000 }, (_, index) => ({ 'ip-address': `10.0.${index % 200}.1` }));
  const mac = '52:54:00:00:00:01';
  expect(addressesByMac([{ 'hardware-address': mac, 'ip-addresses': many }]).get(mac)).toHaveLength(8);
  expect(
    addressesByMac([{ 'hardware-address': mac, 'ip-addresses': [{ 'ip-address': '$(reboot)' }] }]).get(mac),
  ).toEqual([]);
  expect(osName({ 'pretty-name': `\u001b]0;owned\u0007${'x'.repeat(1000)}` })).toMatch(
    /^\?\]0;owned\?x{118}$/,
  );
});

test('no answer whatever makes it throw', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (answer) => {
      addressesByMac(answer);
      agentVersion(answer);
      osName(answer);
    }),
  );
});
