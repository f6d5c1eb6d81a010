#!/bin/sh
# Makes the full guest's disk from its file system: build.sh SOURCES ROOTFS.tar OUTPUT
# Runs as root (owners and modes of files) inside the tools' image; needs no mount and no loop device.
set -eu
sources=$1 archive=$2 output=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mkdir "$root"
tar -xpf "$archive" -C "$root" --numeric-owner --xattrs --xattrs-include='*'
# What the container engine puts its own files over.
rm -rf "$root/.dockerenv" "$root"/dev/* "$root"/run/* "$root"/tmp/*
echo debian >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# Nothing is newer than these: systemd need not rebuild its caches at the first boot.
touch "$root/usr" "$root/etc/.updated" "$root/var/.updated"
mkdir -p "$output"
cp "$root/usr/share/vmstead-packages.txt" "$output/packages.txt"

# The small initial RAM disk that GRUB's menu names: drivers of virtual disks and busybox.
# The modules keep their signatures: with Secure Boot the kernel takes no other.
initrd=$work/initrd
version=$(ls "$root/usr/lib/modules")
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/root"
cp "$root/usr/bin/busybox" "$initrd/bin/"
cp "$sources/initrd-init" "$initrd/init"
unpack() { # LIST MODULES...: unpacks modules with what they need, and lists them in order
  list=$1
  shift
  for name in "$@"; do
    modprobe -d "$root/usr" -S "$version" --show-depends "$name" | sed -n "s/^insmod \\([^ ]*\\).*/\\1/p"
  done | awk "!seen[\$0]++" | while read -r path; do
    file=$(basename "$path" .xz)
    xz -dc "$path" >"$initrd/$file"
    echo "$file"
  done >"$initrd/$list"
}
unpack virtio virtio_blk
unpack others virtio_scsi sd_mod ahci
(cd "$initrd" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$root/boot/initrd-small.img"

size_mib=$(($(du -sm --apparent-size "$root" | cut -f 1) * 5 / 4 + 256)) # room for what a guest writes
truncate -s "${size_mib}M" "$work/root.ext4"
mke2fs -q -t ext4 -L vmstead-root -m 0 -E lazy_itable_init=0,root_owner=0:0 -d "$root" "$work/root.ext4"

mkdir -p "$work/esp/EFI/debian"
cp "$sources/esp-grub.cfg" "$work/esp/EFI/debian/grub.cfg"
sh "$sources/../disk/make-disk.sh" "$work/esp" 16 "$work/root.ext4" "$output/disk.qcow2"
