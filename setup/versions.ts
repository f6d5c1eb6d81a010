/** What the set-up installs or builds; a change here makes the next run build the new version beside the old one. */
export const KUBERNETES_VERSION = 'v1.36.3';
export const CONTAINERD_VERSION = 'v2.4.2';
export const HELM_VERSION = 'v4.3.1';
/** Prometheus v3.15.0; its Go module numbers it v0.315.0. */
export const PROMETHEUS_VERSION = 'v0.315.0';
export const COREDNS_VERSION = 'v1.14.7';
export const REGISTRY_VERSION = 'v0.22.1';
export const LOCAL_PATH_PROVISIONER_VERSION = 'v0.0.30';
/** The Debian release of every image. */
export const DEBIAN_RELEASE = 'trixie';
