import { clusterRole } from './addons.ts';

const driver = 'csi.vmstead.test';

const read = ['get', 'list', 'watch'];
const snapshots = 'snapshot.storage.k8s.io';

/**
 * What the CSI driver needs and offers: the rights of its sidecars (one name for all), its classes. The kinds of
 * snapshots come before it.
 */
export const csiAddons: readonly object[] = [
  ...clusterRole('system:csi', [
    { apiGroups: [''], resources: ['persistentvolumes', 'persistentvolumeclaims', 'events'], verbs: ['*'] },
    { apiGroups: [''], resources: ['persistentvolumeclaims/status'], verbs: ['patch', 'update'] },
    { apiGroups: [''], resources: ['nodes', 'pods'], verbs: read },
    {
      apiGroups: ['storage.k8s.io'],
      resources: ['storageclasses', 'csinodes', 'volumeattributesclasses'],
      verbs: read,
    },
    { apiGroups: ['storage.k8s.io'], resources: ['volumeattachments'], verbs: [...read, 'patch'] },
    { apiGroups: ['storage.k8s.io'], resources: ['volumeattachments/status'], verbs: ['patch'] },
    {
      apiGroups: [snapshots],
      resources: [
        ...['volumesnapshotclasses', 'volumesnapshotcontents', 'volumesnapshotcontents/status'],
        ...['volumesnapshots', 'volumesnapshots/status'],
      ],
      verbs: ['*'],
    },
    { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: read },
  ]),
  {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'CSIDriver',
    metadata: { name: driver },
    spec: { attachRequired: true, podInfoOnMount: false, fsGroupPolicy: 'File' },
  },
  {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'csi' },
    provisioner: driver,
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Delete',
    allowVolumeExpansion: true,
  },
  {
    apiVersion: `${snapshots}/v1`,
    kind: 'VolumeSnapshotClass',
    metadata: { name: 'csi' },
    driver,
    deletionPolicy: 'Delete',
  },
];
