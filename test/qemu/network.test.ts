/** What passes QEMU's user network, out of the guest, on a network that has both families of addresses. */
import { afterAll, beforeAll, test } from 'vitest';
import { docker } from '../../images/docker.ts';
import { Launcher, machine, tinyGuest } from './support/launcher.ts';

const NETWORK = `vmstead-test-network-${process.pid}`;
const PORT = 8080;
const LISTEN = `require('net').createServer((socket) => socket.end()).listen(${PORT}, '::')`;
/** A neighbour of the pod that listens on all its addresses. */
let neighbour: string;
let addresses: { ipv4: string; ipv6: string };

beforeAll(async () => {
  await docker(['network', 'create', '--internal', '--ipv6', '--subnet=fd00:7e57::/64', NETWORK]);
  const run = ['run', '--detach', `--network=${NETWORK}`, '--entrypoint=node', 'vmstead/qemu:dev'];
  neighbour = (await docker([...run, '-e', LISTEN])).trim();
  const of = async (field: string) =>
    (
      await docker([
        ...['inspect', '--format', `{{(index .NetworkSettings.Networks "${NETWORK}").${field}}}`],
        neighbour,
      ])
    ).trim();
  addresses = { ipv4: await of('IPAddress'), ipv6: await of('GlobalIPv6Address') };
});
afterAll(async () => {
  await docker(['rm', '--force', neighbour]);
  await docker(['network', 'rm', NETWORK]);
});

/** A launcher whose guest has a network card. */
async function start(...more: string[]): Promise<Launcher> {
  const networks = [{ name: 'default', model: 'virtio' as const, mac: '02:00:00:00:00:07', ports: [] }];
  const launcher = await Launcher.start(machine('vmstead.heartbeat=0', { networks }), {
    guest: await tinyGuest(),
    docker: [`--network=${NETWORK}`, ...more],
  });
  await launcher.guestSays(/VMSTEAD-NET /);
  return launcher;
}

test('TCP passes by IPv4, and nothing by IPv6', { timeout: 120_000 }, async () => {
  await using launcher = await start();
  const reach = (host: string) =>
    launcher.sh(
      `node -e "require('net').connect(${PORT}, process.argv[1]).on('connect', () => process.exit(0)).on('error', () => process.exit(1))" ${host}`,
    );
  // The pod itself reaches its neighbour by both.
  await reach(addresses.ipv4);
  await reach(addresses.ipv6);
  await launcher.typeIntoConsole(`probe ${addresses.ipv4} ${PORT}`);
  await launcher.guestSays(/VMSTEAD-PROBE \S+ 8080 open/);
  // Router advertisements would come within a second of the card.
  await launcher.typeIntoConsole(
    `sleep 1; probe ${addresses.ipv6} ${PORT}; echo ROUTES=$(ip -6 route | grep -c default)`,
  );
  await launcher.guestSays(new RegExp(`VMSTEAD-PROBE ${addresses.ipv6} ${PORT} closed`));
  await launcher.guestSays(/\nROUTES=0/);
});

test.each([
  ['passes where the pod may ping', '0 2147483647', /PING-0/],
  ['does not pass where it may not', '1 0', /PING-1/],
])('a ping %s', { timeout: 120_000 }, async (_title, groups, answer) => {
  await using launcher = await start(`--sysctl=net.ipv4.ping_group_range=${groups}`);
  await launcher.typeIntoConsole(`ping -c 1 -W 3 ${addresses.ipv4}; echo PING-$?`);
  await launcher.guestSays(new RegExp(`\n${answer.source}`));
});
