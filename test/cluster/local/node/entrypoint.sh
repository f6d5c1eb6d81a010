#!/bin/bash
# PID 1 of a node container: does what a machine's firmware, kernel and init do, then runs the services that
# /etc/vmstead/services names. Everything here must be able to run again: stopping and starting the container is
# the node's reboot.
set -euo pipefail

# What the container runtime mounted read-only, a node must write.
mount --make-rshared /
while read -r _ target type _; do
  case $type in cgroup | cgroup2) mount -o remount,bind,rw "$target" ;; esac
done < /proc/mounts

# cgroup v2 wants no process in a group that has controllers switched on below it.
if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
  mkdir -p /sys/fs/cgroup/init
  while read -r pid; do echo "$pid" > /sys/fs/cgroup/init/cgroup.procs || true; done < /sys/fs/cgroup/cgroup.procs
  sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
fi

# Every start is a boot of its own.
cat /proc/sys/kernel/random/uuid > /run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id
[[ -s /etc/machine-id ]] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id

# Devices as a machine has them. /dev/kvm belongs to a group that is not the launcher's, as on most distributions.
device() { # path mode owner type major minor
  [[ -e $1 ]] || mknod "$1" "$4" "$5" "$6"
  chmod "$2" "$1"
  chown "$3" "$1"
}
mkdir -p /dev/net
if [[ ${NODE_KVM:-} == yes ]]; then device /dev/kvm 0660 root:kvm-test c 10 232; fi
device /dev/net/tun 0666 root:root c 10 200
device /dev/fuse 0666 root:root c 10 229
device /dev/loop-control 0660 root:disk c 10 237
for n in $(seq 0 31); do device "/dev/loop$n" 0660 root:disk b 7 "$n"; done
ln -sf null /dev/kmsg

# What the kubelet held before the power was cut. Only those that are still the same: others may have the number now.
if [[ -s /var/lib/loops ]]; then
  losetup --list --noheadings --raw --output BACK-MAJ:MIN,BACK-INO,NAME > /tmp/loops
  grep --line-regexp --fixed-strings --file /var/lib/loops /tmp/loops | while read -r _ _ name; do
    losetup --detach "$name" || true
  done || true
  rm /var/lib/loops
fi

# One value for all nodes and the host: 128, the kernel's default, is too few for several kubelets and launchers.
(( $(< /proc/sys/fs/inotify/max_user_instances) >= 1024 )) || echo 1024 > /proc/sys/fs/inotify/max_user_instances || true
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet

# One flat pod network over the nodes, inside their own network namespaces: no route leads out.
# NODE_INDEX is this node's, NODE_PEERS lists the others as index=address.
ip link add pods type vxlan id 42 dstport 4789 local "$NODE_IP" dev eth0
ip address add "10.244.$NODE_INDEX.0/32" dev pods
ip link set pods up
for peer in $NODE_PEERS; do
  bridge fdb append 00:00:00:00:00:00 dev pods dst "${peer#*=}"
  ip route add "10.244.${peer%=*}.0/24" via "10.244.${peer%=*}.0" dev pods onlink
done
# Some engines give an internal network a default route all the same.
ip route delete default 2> /dev/null || true
# Without a default route the kernel would refuse service addresses before kube-proxy's rules see them.
ip route add 10.96.0.0/16 dev pods
# Pods keep their address among themselves and borrow the node's towards everything else.
iptables -t nat -A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE

# No names either: an image that is not here fails at once, not after half a minute of asking.
: > /etc/resolv.conf

mkdir -p /etc/cni/net.d /var/log/services /run/services
cp /etc/vmstead/cni.conflist /etc/cni/net.d/10-pods.conflist 2> /dev/null || true
for script in /etc/vmstead/services/* /etc/vmstead/storage/*; do
  name=$(basename "$script")
  mkdir -p "/run/services/$name"
  printf '#!/bin/bash\nexec >> /var/log/services/%s.log 2>&1\nsource %s\n' "$name" "$script" > "/run/services/$name/run"
  chmod +x "/run/services/$name/run"
  # Storage with snapshots runs from when somebody first asks for it.
  if [[ $script == */storage/* && ! -e /var/lib/storage-started ]]; then touch "/run/services/$name/down"; fi
done
exec env PATH="/opt/kubernetes:/opt/containerd:$PATH" runsvdir /run/services
