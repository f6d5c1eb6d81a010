import { expect, test } from 'vitest';
import { parseNetDev } from './collect.ts';
import { isOwnAddress } from './server.ts';

test('a connection from the pod itself may be the guest’s', () => {
  const own = ['10.0.3.7', 'fd00::7', 'fe80::1%eth0'];
  for (const address of [
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '::ffff:127.0.0.1',
    '10.0.3.7',
    '::ffff:10.0.3.7',
    'fd00::7',
    'fe80::1',
  ]) {
    expect(isOwnAddress(address, own), address).toBe(true);
  }
  for (const address of ['10.0.3.8', '::ffff:10.0.3.70', 'fd00::8', '12.7.0.0']) {
    expect(isOwnAddress(address, own), address).toBe(false);
  }
});

test('counters of the pod’s interface, not of loopback', () => {
  const text = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo:   99       9    0    0    0     0          0         0       99       9    0    0    0     0       0          0',
    '  eth0: 1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0',
  ].join('\n');
  expect(parseNetDev(text)).toEqual({
    receiveBytes: 1000,
    receivePackets: 10,
    receiveErrors: 1,
    receiveDropped: 2,
    transmitBytes: 2000,
    transmitPackets: 20,
    transmitErrors: 3,
    transmitDropped: 4,
  });
});
