import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MachineDescription, MachineDisk } from '../../crds/machine-description.ts';
import { commandLine } from './command-line.ts';
import type { Host, PreparedDisk } from './host.ts';

const run = {
  qmp: '/run/vmstead/qmp.sock',
  pid: '/run/vmstead/qemu.pid',
  console: '/run/vmstead/console.sock',
  serialLog: '/var/lib/vmstead/serial.log',
  guestAgent: '/run/vmstead/agent.sock',
  guestPort: '/run/vmstead/guest.sock',
};

const host = (changes: Partial<Host> = {}): Host => ({ run, disks: [], ...changes });

const machine = (changes: Partial<MachineDescription> = {}): MachineDescription => ({
  version: 1,
  vm: { namespace: 'default', name: 'web', uid: 'u' },
  incarnation: 1,
  hostname: 'web',
  uuid: '6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10',
  machineType: 'pc-q35-10.0',
  accelerator: 'tcg',
  translationBufferMiB: 64,
  cpu: { model: 'max', sockets: 1, cores: 1, threads: 1 },
  memoryMiB: 256,
  firmware: { type: 'BIOS' },
  disks: [],
  networks: [],
  hotplugPorts: 0,
  terminationGracePeriodSeconds: 30,
  ...changes,
});

const disk = (changes: Partial<MachineDisk> = {}): MachineDisk => ({
  name: 'root',
  device: 'disk',
  bus: 'virtio',
  serial: 'root',
  readOnly: false,
  backend: { type: 'file', path: '/disks/root/disk.img', format: 'raw' },
  ...changes,
});

const rawFile: PreparedDisk = {
  driver: 'file',
  filename: '/disks/root/disk.img',
  format: 'raw',
  direct: true,
  readOnly: false,
  aio: 'native',
};

/** Switches with their values, one a line. */
function lines(description: MachineDescription, onHost: Host = host()): string[] {
  const all: string[] = [];
  for (const arg of commandLine(description, onHost)) {
    if (/^-[a-z]/.test(arg)) all.push(arg);
    else all.push(`${all.pop()} ${arg}`);
  }
  return all;
}

/** What a feature adds to the smallest machine. */
function added(description: MachineDescription, onHost?: Host): string[] {
  const smallest = new Set(lines(machine()));
  return lines(description, onHost).filter((line) => !smallest.has(line));
}

test('the smallest machine', () => {
  expect(lines(machine())).toMatchInlineSnapshot(`
    [
      "-name guest=default/web,debug-threads=on",
      "-nodefaults",
      "-no-user-config",
      "-display none",
      "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-action reboot=reset,shutdown=pause,panic=pause,watchdog=reset",
      "-msg timestamp=on",
      "-boot strict=on",
      "-rtc base=utc,driftfix=slew",
      "-uuid 6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10",
      "-machine pc-q35-10.0,memory-backend=ram,smm=off,vmport=off,hpet=off,smbus=off,sata=off",
      "-accel tcg,tb-size=64,thread=single",
      "-cpu max",
      "-smp cpus=1,sockets=1,cores=1,threads=1",
      "-m size=256M",
      "-object {"qom-type":"memory-backend-memfd","id":"ram","size":268435456,"share":true}",
      "-pidfile /run/vmstead/qemu.pid",
      "-chardev socket,id=qmp,path=/run/vmstead/qmp.sock,server=on,wait=off",
      "-mon chardev=qmp,mode=control",
      "-chardev socket,id=console,path=/run/vmstead/console.sock,server=on,wait=off,logfile=/var/lib/vmstead/serial.log,logappend=on",
      "-device {"driver":"isa-serial","id":"console","chardev":"console","index":0}",
      "-device {"driver":"virtio-serial-pci","id":"virtio-serial","max_ports":4,"bus":"pcie.0","addr":"0x5"}",
      "-chardev socket,id=guest-agent,path=/run/vmstead/agent.sock,server=on,wait=off",
      "-device {"driver":"virtserialport","bus":"virtio-serial.0","nr":1,"id":"guest-agent","chardev":"guest-agent","name":"org.qemu.guest_agent.0"}",
      "-chardev socket,id=guest-port,path=/run/vmstead/guest.sock,server=on,wait=off",
      "-device {"driver":"virtserialport","bus":"virtio-serial.0","nr":2,"id":"guest-port","chardev":"guest-port","name":"io.vmstead.guest.0"}",
      "-object {"qom-type":"rng-random","id":"entropy","filename":"/dev/urandom"}",
      "-device {"driver":"virtio-rng-pci","id":"rng","rng":"entropy","bus":"pcie.0","addr":"0x6"}",
      "-device {"driver":"virtio-balloon-pci","id":"balloon","free-page-reporting":true,"deflate-on-oom":true,"bus":"pcie.0","addr":"0x7"}",
      "-device {"driver":"pvpanic","id":"pvpanic"}",
    ]
  `);
});

describe('what each feature adds', () => {
  test('KVM', () => {
    const { translationBufferMiB: _, ...kvm } = machine({ accelerator: 'kvm' });
    expect(
      added({ ...kvm, cpu: { model: 'host', sockets: 1, cores: 2, threads: 2 } }),
    ).toMatchInlineSnapshot(`
      [
        "-accel kvm",
        "-cpu host",
        "-smp cpus=4,sockets=1,cores=2,threads=2",
      ]
    `);
  });

  test('a CPU without what this QEMU does wrongly', () => {
    const cpu = { model: 'max', sockets: 1, cores: 1, threads: 1, without: ['cx16'] };
    expect(added(machine({ cpu }))).toEqual(['-cpu max,cx16=off']);
  });

  test('several CPUs under emulation', () => {
    expect(
      added(machine({ cpu: { model: 'max', sockets: 2, cores: 2, threads: 1 } })),
    ).toMatchInlineSnapshot(`
      [
        "-accel tcg,tb-size=64,thread=multi",
        "-smp cpus=4,sockets=2,cores=2,threads=1",
      ]
    `);
  });

  test('a kernel', () => {
    const commandLine = 'console=ttyS0,115200 root=/dev/vda1';
    const kernel = { path: '/kernel/vmlinuz', initrd: '/kernel/initrd.img', commandLine };
    expect(added(machine({ kernel }))).toMatchInlineSnapshot(`
      [
        "-kernel /kernel/vmlinuz",
        "-initrd /kernel/initrd.img",
        "-append console=ttyS0,115200 root=/dev/vda1",
      ]
    `);
  });

  test('UEFI', () => {
    const firmware = { type: 'UEFI', variables: '/state/uefi-variables.fd' } as const;
    expect(added(machine({ firmware }), host({ uefiCode: '/ovmf/code.fd' }))).toMatchInlineSnapshot(`
      [
        "-machine pc-q35-10.0,memory-backend=ram,smm=off,vmport=off,hpet=off,smbus=off,sata=off,pflash0=uefi-code,pflash1=uefi-variables",
        "-blockdev {"driver":"file","node-name":"uefi-code","filename":"/ovmf/code.fd","read-only":true}",
        "-blockdev {"driver":"file","node-name":"uefi-variables","filename":"/state/uefi-variables.fd","locking":"on"}",
      ]
    `);
    expect(() => lines(machine({ firmware }))).toThrow('firmware UEFI needs OVMF');
  });

  test('a raw disk', () => {
    expect(
      added(machine({ disks: [disk({ bootIndex: 1 })] }), host({ disks: [rawFile] })),
    ).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"file","node-name":"disk0","filename":"/disks/root/disk.img","read-only":false,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap","detect-zeroes":"unmap"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","bootindex":1,"write-cache":"on","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
      ]
    `);
  });

  test('a block device on scsi', () => {
    const device: PreparedDisk = { ...rawFile, driver: 'host_device', filename: '/dev/vmstead/root' };
    expect(
      added(machine({ disks: [disk({ bus: 'scsi' })] }), host({ disks: [device] })),
    ).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"host_device","node-name":"disk0","filename":"/dev/vmstead/root","read-only":false,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap","detect-zeroes":"unmap"}",
        "-device {"driver":"virtio-scsi-pci","id":"scsi","bus":"pcie.0","addr":"0x4"}",
        "-device {"driver":"scsi-hd","id":"disk-root","drive":"disk0","serial":"root","bus":"scsi.0","scsi-id":0,"write-cache":"on","werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  test('a cdrom on a file system without O_DIRECT', () => {
    const image: PreparedDisk = {
      ...rawFile,
      filename: '/disks/iso/disk.img',
      direct: false,
      readOnly: true,
    };
    const cdrom = disk({ name: 'iso', device: 'cdrom', bus: 'sata', readOnly: true });
    expect(added(machine({ disks: [cdrom] }), host({ disks: [image] }))).toMatchInlineSnapshot(`
      [
        "-machine pc-q35-10.0,memory-backend=ram,smm=off,vmport=off,hpet=off,smbus=off,sata=on",
        "-blockdev {"driver":"file","node-name":"disk0","filename":"/disks/iso/disk.img","read-only":true,"locking":"on","cache":{"direct":false},"aio":"threads","discard":"unmap"}",
        "-device {"driver":"ide-cd","id":"disk-iso","drive":"disk0","serial":"root","bus":"ide.0","werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  const onBus = (bus: MachineDisk['bus']) =>
    added(machine({ disks: [disk({ bus })] }), host({ disks: [rawFile] })).slice(1);
  test('a disk on nvme', () => {
    expect(onBus('nvme')).toMatchInlineSnapshot(`
      [
        "-device {"driver":"nvme","id":"disk-root","drive":"disk0","serial":"root","write-cache":"on","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
      ]
    `);
  });
  test('a disk on ide', () => {
    expect(onBus('ide')).toMatchInlineSnapshot(`
      [
        "-device {"driver":"piix3-ide","id":"pata","bus":"pcie.0","addr":"0x15"}",
        "-device {"driver":"ide-hd","id":"disk-root","drive":"disk0","serial":"root","bus":"pata.0","unit":0,"write-cache":"on","werror":"stop","rerror":"stop"}",
      ]
    `);
  });
  test('a disk on usb', () => {
    expect(onBus('usb')).toMatchInlineSnapshot(`
      [
        "-device {"driver":"qemu-xhci","id":"usb","p2":8,"p3":8,"bus":"pcie.0","addr":"0x16"}",
        "-device {"driver":"usb-bot","id":"usb-root","bus":"usb.0","port":"1"}",
        "-device {"driver":"scsi-hd","id":"disk-root","drive":"disk0","serial":"root","bus":"usb-root.0","scsi-id":0,"lun":0,"write-cache":"on","werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  test('an empty drive', () => {
    const { backend: _, ...empty } = disk({ name: 'cd', device: 'cdrom', bus: 'usb', readOnly: true });
    expect(added(machine({ disks: [empty] }), host({ disks: [null] }))).toMatchInlineSnapshot(`
      [
        "-device {"driver":"qemu-xhci","id":"usb","p2":8,"p3":8,"bus":"pcie.0","addr":"0x16"}",
        "-device {"driver":"usb-bot","id":"usb-cd","bus":"usb.0","port":"1"}",
        "-device {"driver":"scsi-cd","id":"disk-cd","serial":"root","bus":"usb-cd.0","scsi-id":0,"lun":0,"werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  test('writethrough, threads, preallocated', () => {
    const prepared: PreparedDisk = { ...rawFile, direct: false, aio: 'threads', preallocated: true };
    expect(
      added(machine({ disks: [disk({ cache: 'writethrough' })] }), host({ disks: [prepared] })),
    ).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"file","node-name":"disk0","filename":"/disks/root/disk.img","read-only":false,"locking":"on","cache":{"direct":false},"aio":"threads","discard":"ignore"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","write-cache":"off","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
      ]
    `);
  });

  test('more CPUs than queues are worth it', () => {
    const many = machine({ cpu: { model: 'max', sockets: 1, cores: 32, threads: 1 }, disks: [disk()] });
    expect(added(many, host({ disks: [rawFile] })).at(-1)).toContain('"num-queues":16');
  });

  test('a throw-away overlay', () => {
    const overlay: PreparedDisk = {
      ...rawFile,
      filename: '/var/lib/vmstead/root.qcow2',
      format: 'qcow2',
      overlay: {
        base: { ...rawFile, filename: '/images/root/disk/a.qcow2', format: 'qcow2' },
        maxBytes: 1 << 20,
      },
    };
    expect(added(machine({ disks: [disk()] }), host({ disks: [overlay] }))).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"file","node-name":"disk0-base-file","filename":"/images/root/disk/a.qcow2","read-only":true,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap"}",
        "-blockdev {"driver":"qcow2","node-name":"disk0-base","read-only":true,"backing":null,"file":"disk0-base-file"}",
        "-blockdev {"driver":"file","node-name":"disk0-file","filename":"/var/lib/vmstead/root.qcow2","read-only":false,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap"}",
        "-blockdev {"driver":"raw","node-name":"disk0-bound","file":"disk0-file","size":1048576}",
        "-blockdev {"driver":"qcow2","node-name":"disk0","file":"disk0-bound","backing":"disk0-base","read-only":false,"discard":"unmap","detect-zeroes":"unmap"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","write-cache":"on","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
      ]
    `);
  });

  test('a throw-away overlay on a device that others read too, and files that the launcher made a disk of', () => {
    const device = { driver: 'host_device', filename: '/dev/vmstead-bases/root', direct: true } as const;
    const overlay: PreparedDisk = {
      ...rawFile,
      filename: '/var/lib/vmstead/root.qcow2',
      format: 'qcow2',
      overlay: { base: { ...device, format: 'vpc', size: 1536 }, maxBytes: 1 << 20 },
    };
    const files: PreparedDisk = {
      ...rawFile,
      filename: '/run/vmstead/config.iso',
      direct: false,
      readOnly: true,
    };
    const disks = [disk(), disk({ name: 'config', readOnly: true })];
    expect(added(machine({ disks }), host({ disks: [overlay, files] }))).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"host_device","node-name":"disk0-base-file","filename":"/dev/vmstead-bases/root","read-only":true,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap"}",
        "-blockdev {"driver":"raw","node-name":"disk0-base-part","file":"disk0-base-file","size":1536,"read-only":true}",
        "-blockdev {"driver":"vpc","node-name":"disk0-base","read-only":true,"file":"disk0-base-part"}",
        "-blockdev {"driver":"file","node-name":"disk0-file","filename":"/var/lib/vmstead/root.qcow2","read-only":false,"locking":"on","cache":{"direct":true},"aio":"native","discard":"unmap"}",
        "-blockdev {"driver":"raw","node-name":"disk0-bound","file":"disk0-file","size":1048576}",
        "-blockdev {"driver":"qcow2","node-name":"disk0","file":"disk0-bound","backing":"disk0-base","read-only":false,"discard":"unmap","detect-zeroes":"unmap"}",
        "-blockdev {"driver":"file","node-name":"disk1","filename":"/run/vmstead/config.iso","read-only":true,"locking":"on","cache":{"direct":false},"aio":"threads","discard":"unmap"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","write-cache":"on","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
        "-device {"driver":"virtio-blk-pci","id":"disk-config","drive":"disk1","serial":"root","write-cache":"on","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x1"}",
      ]
    `);
  });

  test('a disk that other machines write to as well', () => {
    const disks = [disk({ shareable: true }), disk({ name: 'quorum', bus: 'scsi', shareable: true })];
    expect(
      added(machine({ disks }), host({ disks: [rawFile, rawFile] })).filter((line) =>
        line.startsWith('-device'),
      ),
    ).toMatchInlineSnapshot(`
      [
        "-device {"driver":"virtio-scsi-pci","id":"scsi","bus":"pcie.0","addr":"0x4"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","share-rw":true,"write-cache":"on","werror":"stop","rerror":"stop","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
        "-device {"driver":"scsi-hd","id":"disk-quorum","drive":"disk1","serial":"root","share-rw":true,"bus":"scsi.0","scsi-id":0,"write-cache":"on","werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  test('I/O threads', () => {
    const disks = [disk(), disk({ name: 'data', bus: 'scsi' }), disk({ name: 'old', bus: 'sata' })];
    const cpu = { model: 'max', sockets: 1, cores: 4, threads: 1 };
    expect(
      added(machine({ disks, cpu, ioThreads: 2 }), host({ disks: disks.map(() => rawFile) })).filter(
        (line) => !line.startsWith('-blockdev'),
      ),
    ).toMatchInlineSnapshot(`
      [
        "-machine pc-q35-10.0,memory-backend=ram,smm=off,vmport=off,hpet=off,smbus=off,sata=on",
        "-accel tcg,tb-size=64,thread=multi",
        "-smp cpus=4,sockets=1,cores=4,threads=1",
        "-object {"qom-type":"iothread","id":"io0"}",
        "-object {"qom-type":"iothread","id":"io1"}",
        "-device {"driver":"virtio-scsi-pci","id":"scsi","iothread-vq-mapping":[{"iothread":"io0"},{"iothread":"io1"}],"bus":"pcie.0","addr":"0x4"}",
        "-device {"driver":"virtio-blk-pci","id":"disk-root","drive":"disk0","serial":"root","write-cache":"on","werror":"stop","rerror":"stop","iothread-vq-mapping":[{"iothread":"io0"},{"iothread":"io1"}],"bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
        "-device {"driver":"scsi-hd","id":"disk-data","drive":"disk1","serial":"root","bus":"scsi.0","scsi-id":0,"write-cache":"on","werror":"stop","rerror":"stop"}",
        "-device {"driver":"ide-hd","id":"disk-old","drive":"disk2","serial":"root","bus":"ide.0","write-cache":"on","werror":"stop","rerror":"stop"}",
      ]
    `);
  });

  test('cloud-init', () => {
    expect(added(machine(), host({ seed: '/run/vmstead/seed.iso' }))).toMatchInlineSnapshot(`
      [
        "-blockdev {"driver":"file","node-name":"seed","filename":"/run/vmstead/seed.iso","read-only":true}",
        "-device {"driver":"virtio-blk-pci","id":"seed","drive":"seed","serial":"cloud-init","bus":"pcie.0","addr":"0x10.0x0","multifunction":true}",
      ]
    `);
  });

  test('networks with ports', () => {
    const networks: MachineDescription['networks'] = [
      {
        name: 'default',
        model: 'virtio',
        mac: '02:00:00:00:00:01',
        ports: [
          { protocol: 'TCP', port: 80 },
          { protocol: 'UDP', port: 53 },
        ],
      },
      { name: 'old', model: 'e1000e', mac: '02:00:00:00:00:02', ports: [] },
    ];
    expect(added(machine({ networks }))).toMatchInlineSnapshot(`
      [
        "-netdev {"type":"user","id":"net0","hostname":"web","ipv6":false,"hostfwd":[{"str":"tcp:0.0.0.0:80-:80"},{"str":"udp:0.0.0.0:53-:53"}]}",
        "-netdev {"type":"user","id":"net1","hostname":"web","ipv6":false}",
        "-device {"driver":"virtio-net-pci","id":"network-default","netdev":"net0","mac":"02:00:00:00:00:01","romfile":"","bus":"pcie.0","addr":"0x8"}",
        "-device {"driver":"e1000e","id":"network-old","netdev":"net1","mac":"02:00:00:00:00:02","romfile":"","bus":"pcie.0","addr":"0x9"}",
      ]
    `);
  });

  test('hotplug ports', () => {
    expect(added(machine({ hotplugPorts: 2 }))).toMatchInlineSnapshot(`
      [
        "-device {"driver":"pcie-root-port","id":"hotplug0","chassis":1,"bus":"pcie.0","addr":"0x2.0x0","multifunction":true}",
        "-device {"driver":"pcie-root-port","id":"hotplug1","chassis":2,"bus":"pcie.0","addr":"0x2.0x1"}",
      ]
    `);
  });

  test('a serial number', () => {
    expect(added(machine({ serial: 'a,b=c' }))).toMatchInlineSnapshot(`
      [
        "-smbios type=1,serial=a,,b=c",
      ]
    `);
  });
});

test('a disk more does not move the others', () => {
  const disks = [disk(), disk({ name: 'data' }), disk({ name: 'more', bus: 'scsi' })];
  const address = (count: number) =>
    lines(
      machine({ disks: disks.slice(0, count) }),
      host({ disks: Array.from({ length: count }, () => rawFile) }),
    ).filter((line) => line.includes('"id":"disk-root"') || line.includes('"id":"rng"'));
  expect(address(3)).toEqual(address(1));
});

test('32 virtio disks fit, and so does the seed', () => {
  const disks = Array.from({ length: 32 }, (_, index) => disk({ name: `d${index}` }));
  const prepared = disks.map(() => rawFile);
  const places = lines(machine({ disks }), host({ disks: prepared, seed: '/seed' }))
    .filter((line) => line.includes('virtio-blk-pci'))
    .map((line) => /"addr":"([^"]+)"/.exec(line)?.[1]);
  expect(new Set(places).size).toBe(33);
});

test.each([
  ['sata', 6],
  ['ide', 4],
  ['usb', 8],
] as const)('more %s disks than there are ports are refused', (bus, ports) => {
  const disks = Array.from({ length: ports + 1 }, (_, index) => disk({ name: `d${index}`, bus }));
  const linesOf = (count: number) =>
    lines(machine({ disks: disks.slice(0, count) }), host({ disks: disks.map(() => rawFile) }));
  expect(linesOf(ports).filter((line) => line.includes(`"id":"disk-d`))).toHaveLength(ports);
  expect(() => linesOf(ports + 1)).toThrow(`a machine has room for ${ports} ${bus} disks`);
});

/** QEMU's own reading of `key=value,…`: a doubled comma is one, a single one separates. */
function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ',') part += text[at];
    else if (text[at + 1] === ',') {
      part += ',';
      at++;
    } else {
      parts.push(part);
      part = '';
    }
  }
  return [...parts, part];
}

/** Arguments as QEMU takes them: a switch, and its value whatever that looks like. */
function switches(args: string[]): [name: string, value: string][] {
  const read: [string, string][] = [];
  for (let at = 0; at < args.length; at++) {
    const name = args[at]!;
    read.push([name, ['-nodefaults', '-no-user-config'].includes(name) ? '' : args[++at]!]);
  }
  return read;
}

test('no string changes the command line that QEMU reads', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1 }),
    fc.constantFrom(
      ',',
      ',,',
      'a,readonly=on',
      '",',
      '"}],{"',
      'a=b,server=off',
      '-device',
      '\\',
      '\u{1f600},',
    ),
  );
  const text = nasty.filter((value) => !value.includes('\0'));
  fc.assert(
    fc.property(text, text, text, text, text, (name, serial, model, path, argument) => {
      const described = machine({
        vm: { namespace: 'default', name, uid: 'u' },
        hostname: name,
        serial,
        cpu: { model, sockets: 1, cores: 1, threads: 1 },
        kernel: { path, initrd: path, commandLine: argument },
        disks: [disk({ name, serial })],
        networks: [{ name, model: 'virtio', mac: serial, ports: [] }],
      });
      const paths = { ...run, qmp: path, console: path, serialLog: argument };
      const args = commandLine(described, host({ run: paths, disks: [{ ...rawFile, filename: path }] }));
      const read = switches(args);
      const values = (option: string) => read.filter(([name]) => name === option).map(([, value]) => value);
      // As many switches as ever, and each value reads back as it was.
      expect(args.length).toBe(
        commandLine(
          machine({
            serial: 's',
            kernel: { path: 'k', initrd: 'i', commandLine: 'c' },
            disks: [disk()],
            networks: [{ name: 'n', model: 'virtio', mac: 'm', ports: [] }],
          }),
          host({ disks: [rawFile] }),
        ).length,
      );
      expect(splitCommas(values('-name')[0]!)).toEqual([`guest=default/${name}`, 'debug-threads=on']);
      expect(splitCommas(values('-smbios')[0]!)).toEqual(['type=1', `serial=${serial}`]);
      expect(splitCommas(values('-cpu')[0]!)).toEqual([model]);
      expect(splitCommas(values('-chardev').find((value) => value.includes('id=console'))!)).toEqual([
        'socket',
        'id=console',
        `path=${path}`,
        'server=on',
        'wait=off',
        `logfile=${argument}`,
        'logappend=on',
      ]);
      expect(values('-append')).toEqual([argument]);
      expect(JSON.parse(values('-blockdev')[0]!)).toMatchObject({ filename: path });
      const devices = values('-device').map((value) => JSON.parse(value) as Record<string, unknown>);
      expect(devices.find(({ driver }) => driver === 'virtio-blk-pci')).toMatchObject({
        id: `disk-${name}`,
        serial,
      });
    }),
  );
});

test('a NUL, which no argument can hold, is refused', () => {
  expect(() => lines(machine({ serial: 'a\0b' }))).toThrow('NUL character');
});
