import { describe, expect, it } from 'vitest';
import { machineDescription } from '../../crds/machine-description.ts';
import { virtualMachineSpec } from '../../crds/virtual-machine.ts';
import { type DiskClaim, describeMachine } from './machine.ts';
import { launcherPod } from './pod.ts';
import { resolve } from './resolve.ts';
import { aVm } from './testing.ts';

function make(
  spec: Record<string, unknown>,
  claims: ReadonlyMap<string, DiskClaim> = new Map(),
  accelerator: 'kvm' | 'tcg' = 'tcg',
) {
  const vm = aVm(spec);
  const resolved = resolve(
    { namespace: 'default', name: 'web' },
    vm.spec,
    { machineType: undefined },
    accelerator,
    'pc-q35-10.0',
  );
  const description = describeMachine({
    namespace: 'default',
    name: 'web',
    uid: 'vm-uid',
    incarnation: 3,
    spec: vm.spec,
    resolved,
    claims,
    channel: undefined,
  });
  const pod = launcherPod({
    vm,
    namespace: 'default',
    description,
    resolved,
    claims,
    image: 'launcher:1',
    imagePullPolicy: 'IfNotPresent',
  });
  return { description, pod };
}

describe('the launcher pod', () => {
  it('of a VM with one of each', () => {
    const claims = new Map<string, DiskClaim>([
      ['root', { volumeMode: 'Filesystem', bytes: 2 ** 30 }],
      ['raw', { volumeMode: 'Block', bytes: 2 ** 30 }],
    ]);
    const { pod } = make(
      {
        firmware: { type: 'UEFI' },
        state: { size: '64Mi' },
        disks: [
          { name: 'root', source: { blank: {} }, claim: { size: '1Gi' } },
          { name: 'raw', source: { claim: { name: 'data' } } },
          {
            name: 'tools',
            device: 'cdrom',
            source: { containerImage: { image: 'tools:1', overlaySize: '100Mi' } },
          },
        ],
        networks: [{ name: 'default', pod: {}, ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] }],
        cloudInit: { userDataSecretRef: { name: 'web-user-data' } },
        pod: { nodeSelector: { disk: 'fast' }, labels: { team: 'a' } },
        terminationGracePeriodSeconds: 0,
      },
      claims,
      'kvm',
    );
    const { annotations, ...metadata } = pod.metadata;
    expect(Object.keys(annotations ?? {})).toEqual(['vmstead.io/machine']);
    expect({ metadata, spec: pod.spec }).toMatchInlineSnapshot(`
      {
        "metadata": {
          "finalizers": [
            "vmstead.io/launcher",
          ],
          "labels": {
            "app": "web",
            "app.kubernetes.io/managed-by": "vmstead",
            "team": "a",
            "vmstead.io/incarnation": "3",
            "vmstead.io/vm": "web",
          },
          "name": "vm-web-3",
          "namespace": "default",
          "ownerReferences": [
            {
              "apiVersion": "vmstead.io/v1alpha1",
              "blockOwnerDeletion": false,
              "controller": true,
              "kind": "VirtualMachine",
              "name": "web",
              "uid": "vm-uid",
            },
          ],
        },
        "spec": {
          "automountServiceAccountToken": false,
          "containers": [
            {
              "command": [
                "/usr/bin/tini",
                "--",
                "/usr/lib/vmstead/supervise",
              ],
              "image": "launcher:1",
              "imagePullPolicy": "IfNotPresent",
              "name": "launcher",
              "ports": [
                {
                  "containerPort": 9095,
                  "name": "metrics",
                  "protocol": "TCP",
                },
                {
                  "containerPort": 53,
                  "protocol": "UDP",
                },
              ],
              "resources": {
                "limits": {
                  "vmstead.io/kvm": "1",
                },
                "requests": {
                  "cpu": "100m",
                  "memory": "337Mi",
                  "vmstead.io/kvm": "1",
                },
              },
              "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {
                  "drop": [
                    "ALL",
                  ],
                },
                "readOnlyRootFilesystem": true,
              },
              "terminationMessagePath": "/dev/termination-log",
              "volumeDevices": [
                {
                  "devicePath": "/dev/vmstead/raw",
                  "name": "disk-raw",
                },
              ],
              "volumeMounts": [
                {
                  "mountPath": "/etc/vmstead",
                  "name": "config",
                  "readOnly": true,
                },
                {
                  "mountPath": "/run/vmstead",
                  "name": "run",
                },
                {
                  "mountPath": "/var/lib/vmstead",
                  "name": "scratch",
                },
                {
                  "mountPath": "/kernel",
                  "name": "kernel",
                  "readOnly": true,
                },
                {
                  "mountPath": "/state",
                  "name": "state",
                },
                {
                  "mountPath": "/disks/root",
                  "name": "disk-root",
                },
                {
                  "mountPath": "/images/tools",
                  "name": "disk-tools",
                  "readOnly": true,
                },
                {
                  "mountPath": "/cloud-init/user-data",
                  "name": "cloud-init-user",
                  "readOnly": true,
                },
              ],
            },
          ],
          "enableServiceLinks": false,
          "hostname": "web",
          "nodeSelector": {
            "disk": "fast",
          },
          "restartPolicy": "Never",
          "securityContext": {
            "fsGroup": 107,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": 107,
            "runAsNonRoot": true,
            "runAsUser": 107,
            "seccompProfile": {
              "type": "RuntimeDefault",
            },
            "sysctls": [
              {
                "name": "net.ipv4.ip_unprivileged_port_start",
                "value": "0",
              },
            ],
          },
          "serviceAccountName": "default",
          "terminationGracePeriodSeconds": 1,
          "tolerations": [
            {
              "effect": "NoExecute",
              "key": "node.kubernetes.io/not-ready",
              "operator": "Exists",
            },
            {
              "effect": "NoExecute",
              "key": "node.kubernetes.io/unreachable",
              "operator": "Exists",
            },
          ],
          "volumes": [
            {
              "name": "config",
              "projected": {
                "sources": [
                  {
                    "downwardAPI": {
                      "items": [
                        {
                          "fieldRef": {
                            "fieldPath": "metadata.annotations['vmstead.io/machine']",
                          },
                          "path": "machine.json",
                        },
                      ],
                    },
                  },
                  {
                    "serviceAccountToken": {
                      "audience": "vmstead.io",
                      "expirationSeconds": 3600,
                      "path": "token",
                    },
                  },
                ],
              },
            },
            {
              "emptyDir": {
                "medium": "Memory",
                "sizeLimit": "16Mi",
              },
              "name": "run",
            },
            {
              "emptyDir": {
                "sizeLimit": "1201Mi",
              },
              "name": "scratch",
            },
            {
              "image": {
                "reference": "guest",
              },
              "name": "kernel",
            },
            {
              "name": "state",
              "persistentVolumeClaim": {
                "claimName": "web-state",
              },
            },
            {
              "name": "disk-root",
              "persistentVolumeClaim": {
                "claimName": "web-root",
              },
            },
            {
              "name": "disk-raw",
              "persistentVolumeClaim": {
                "claimName": "data",
              },
            },
            {
              "image": {
                "reference": "tools:1",
              },
              "name": "disk-tools",
            },
            {
              "name": "cloud-init-user",
              "secret": {
                "secretName": "web-user-data",
              },
            },
          ],
        },
      }
    `);
  });

  it('is told what its VM is by a description that the launcher accepts, without secrets', () => {
    const { description, pod } = make({ cloudInit: { userDataSecretRef: { name: 's' } } });
    expect(
      machineDescription.parse(JSON.parse(pod.metadata.annotations?.['vmstead.io/machine'] ?? '')),
    ).toEqual(description);
    expect(description.cloudInit?.userData).toEqual({ file: '/cloud-init/user-data/userdata' });
  });

  it('has what the launcher makes disks of mounted by the kubelet, and only reads what is ephemeral', () => {
    const fields = [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }];
    const { pod, description } = make(
      {
        disks: [
          { name: 'config', source: { configMap: { name: 'app', optional: true } } },
          { name: 'keys', source: { secret: { secretName: 'app-keys', volumeLabel: 'OEMDRV' } } },
          { name: 'pod', source: { downwardAPI: { fields } } },
          { name: 'answers', device: 'cdrom', source: { sysprep: { secret: { name: 'windows' } } } },
          { name: 'root', source: { ephemeral: { claim: { name: 'golden' }, overlaySize: '100Mi' } } },
          { name: 'raw', source: { ephemeral: { claim: { name: 'golden-raw' } } } },
          { name: 'data', shareable: true, source: { claim: { name: 'quorum' } } },
        ],
      },
      new Map([
        ['root', { volumeMode: 'Filesystem', bytes: 2 ** 30 }],
        ['raw', { volumeMode: 'Block', bytes: 2 ** 30 }],
        ['data', { volumeMode: 'Filesystem', bytes: 2 ** 30 }],
      ]),
    );
    const { containers, volumes = [] } = pod.spec ?? { containers: [] };
    const ofDisks = ({ name }: { name: string }) => name.startsWith('disk-') || name === 'run';
    expect(volumes.filter(ofDisks)).toMatchInlineSnapshot(`
      [
        {
          "emptyDir": {
            "medium": "Memory",
            "sizeLimit": "32Mi",
          },
          "name": "run",
        },
        {
          "configMap": {
            "name": "app",
            "optional": true,
          },
          "name": "disk-config",
        },
        {
          "name": "disk-keys",
          "secret": {
            "secretName": "app-keys",
          },
        },
        {
          "downwardAPI": {
            "items": [
              {
                "fieldRef": {
                  "fieldPath": "metadata.labels",
                },
                "path": "labels",
              },
            ],
          },
          "name": "disk-pod",
        },
        {
          "name": "disk-answers",
          "secret": {
            "secretName": "windows",
          },
        },
        {
          "name": "disk-root",
          "persistentVolumeClaim": {
            "claimName": "golden",
          },
        },
        {
          "name": "disk-raw",
          "persistentVolumeClaim": {
            "claimName": "golden-raw",
            "readOnly": true,
          },
        },
        {
          "name": "disk-data",
          "persistentVolumeClaim": {
            "claimName": "quorum",
          },
        },
      ]
    `);
    expect(containers[0]?.volumeMounts?.filter(ofDisks)).toMatchInlineSnapshot(`
      [
        {
          "mountPath": "/run/vmstead",
          "name": "run",
        },
        {
          "mountPath": "/files/config",
          "name": "disk-config",
          "readOnly": true,
        },
        {
          "mountPath": "/files/keys",
          "name": "disk-keys",
          "readOnly": true,
        },
        {
          "mountPath": "/files/pod",
          "name": "disk-pod",
          "readOnly": true,
        },
        {
          "mountPath": "/files/answers",
          "name": "disk-answers",
          "readOnly": true,
        },
        {
          "mountPath": "/disks/root",
          "name": "disk-root",
          "readOnly": true,
        },
        {
          "mountPath": "/disks/data",
          "name": "disk-data",
        },
      ]
    `);
    expect(containers[0]?.volumeDevices).toMatchInlineSnapshot(`
      [
        {
          "devicePath": "/dev/vmstead/raw",
          "name": "disk-raw",
        },
      ]
    `);
    expect(machineDescription.parse(description).disks).toMatchInlineSnapshot(`
      [
        {
          "backend": {
            "directory": "/files/config",
            "label": "cfgdata",
            "path": "/run/vmstead/files-config.iso",
            "type": "files",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "config",
          "readOnly": true,
          "serial": "config",
          "source": "configMap app",
        },
        {
          "backend": {
            "directory": "/files/keys",
            "label": "OEMDRV",
            "path": "/run/vmstead/files-keys.iso",
            "type": "files",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "keys",
          "readOnly": true,
          "serial": "keys",
          "source": "secret app-keys",
        },
        {
          "backend": {
            "directory": "/files/pod",
            "label": "cfgdata",
            "path": "/run/vmstead/files-pod.iso",
            "type": "files",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "pod",
          "readOnly": true,
          "serial": "pod",
          "source": "downwardAPI labels=metadata.labels",
        },
        {
          "backend": {
            "answers": true,
            "directory": "/files/answers",
            "label": "unattendCD",
            "path": "/run/vmstead/files-answers.iso",
            "type": "files",
          },
          "bus": "sata",
          "device": "cdrom",
          "name": "answers",
          "readOnly": true,
          "serial": "answers",
          "source": "sysprep secret windows",
        },
        {
          "backend": {
            "base": {
              "format": "raw",
              "path": "/disks/root/disk.img",
              "type": "file",
            },
            "overlay": {
              "maxBytes": 104857600,
              "path": "/var/lib/vmstead/root.qcow2",
            },
            "type": "ephemeral",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "root",
          "readOnly": false,
          "serial": "root",
          "source": "ephemeral claim golden",
        },
        {
          "backend": {
            "base": {
              "format": "raw",
              "path": "/dev/vmstead/raw",
              "type": "block",
            },
            "overlay": {
              "maxBytes": 1073741824,
              "path": "/var/lib/vmstead/raw.qcow2",
            },
            "type": "ephemeral",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "raw",
          "readOnly": false,
          "serial": "raw",
          "source": "ephemeral claim golden-raw",
        },
        {
          "backend": {
            "format": "raw",
            "path": "/disks/data/disk.img",
            "type": "file",
          },
          "bus": "virtio",
          "device": "disk",
          "name": "data",
          "readOnly": false,
          "serial": "data",
          "shareable": true,
          "source": "claim quorum",
        },
      ]
    `);
  });

  it('books the translation buffer under emulation only', () => {
    const memory = (accelerator: 'kvm' | 'tcg') =>
      make({ memory: { size: '1Gi' } }, new Map(), accelerator).pod.spec?.containers[0]?.resources?.requests
        ?.memory;
    expect([memory('tcg'), memory('kvm')]).toEqual(['1170Mi', '1106Mi']);
  });
});

describe('identity', () => {
  it('is derived from namespace and name, so that a lost status changes nothing', () => {
    const spec = { networks: [{ name: 'default', pod: {} }] };
    const first = make(spec).description;
    expect([first.uuid, first.networks[0]?.mac]).toEqual([
      make(spec).description.uuid,
      make(spec).description.networks[0]?.mac,
    ]);
    // The same in every version: a guest takes another UUID or MAC for another machine.
    expect([first.uuid, first.networks[0]?.mac]).toEqual([
      'e9ac3ce0-34fb-5b40-abff-29c92a077079',
      '02:81:9e:0f:e4:7e',
    ]);
  });

  it('is the spec where it says so', () => {
    const given = virtualMachineSpec.parse({
      memory: { size: '64Mi' },
      kernel: { image: 'guest', path: '/k' },
      firmware: { uuid: '6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10', serial: 'S1' },
      networks: [{ name: 'default', pod: {}, macAddress: '02:00:5e:00:53:01' }],
    });
    const { description } = make(given);
    expect(description).toMatchObject({
      uuid: '6b0a5c1e-9a4f-4e0e-8f43-0b8a3a8f3a10',
      serial: 'S1',
      networks: [{ mac: '02:00:5e:00:53:01' }],
    });
  });
});
