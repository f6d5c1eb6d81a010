import { expect, test } from 'vitest';
import { configFrom } from './config.ts';

const env = {
  POD_NAME: 'operator-a',
  POD_NAMESPACE: 'vmstead-system',
  POD_IP: '10.0.0.1',
  VMSTEAD_LAUNCHER_IMAGE: 'vmstead/launcher:1',
};

test('launchers are given the Service’s address first, then its name', () => {
  const config = configFrom({ ...env, VMSTEAD_OPERATOR_SERVICE_HOST: '10.96.3.4' });
  expect(config.channelAddresses).toEqual(['10.96.3.4:8443', 'vmstead-operator.vmstead-system.svc:8443']);
  expect(configFrom({ ...env, VMSTEAD_OPERATOR_SERVICE_HOST: 'fd00::4' }).channelAddresses[0]).toBe(
    '[fd00::4]:8443',
  );
  expect(configFrom(env).channelAddresses).toEqual(['vmstead-operator.vmstead-system.svc:8443']);
});

test('all that is wrong is named at once', () => {
  expect(() => configFrom({ POD_NAME: 'a', VMSTEAD_HTTP_PORT: 'eighty' })).toThrow(
    'POD_NAMESPACE is not set; POD_IP is not set; VMSTEAD_LAUNCHER_IMAGE is not set; VMSTEAD_HTTP_PORT is not a port: eighty',
  );
});
