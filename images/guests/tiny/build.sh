#!/bin/sh
# Makes the tiny guest's kernel and initrd from Debian's packages: build.sh SOURCES OUTPUT
# Runs as root inside a Debian trixie (the Dockerfile beside it is one) with gcc, libc6-dev, cpio, kmod and xz-utils.
# Nothing is installed: the kernel's package is only unpacked.
set -eu
sources=$1 output=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/initrd

cd "$work"
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
chmod 755 "$work"
apt-get download -qq -o APT::Sandbox::User=root "$image" busybox-static
mkdir packages
for package in ./*.deb; do dpkg-deb -x "$package" packages; done
version=$(ls packages/usr/lib/modules)

mkdir -p "$root/bin" "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/run" "$root/lib/modules" "$root/mnt"
cp packages/usr/bin/busybox "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
  case $applet in busybox | init | linuxrc) ;; *) ln -s busybox "$root/bin/$applet" ;; esac
done
cp -r --no-preserve=ownership,timestamps "$sources/rootfs/." "$root/"

flags="-static -Os -s -Wall -Wextra -Werror -I$sources"
gcc $flags -o "$root/init" "$sources/init.c" "$sources/guest.c"
gcc $flags -o "$root/sbin/sectors" "$sources/sectors.c" "$sources/guest.c"

# Each set's modules in the order that their dependencies ask for, unpacked: unpacking costs the guest more than reading.
depmod -b "$work/packages/usr" "$version"
grep -v '^#' "$sources/modules" | while IFS=: read -r set names; do
  for name in $names; do
    modprobe -d "$work/packages/usr" -S "$version" --show-depends "$name" |
      sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' | while read -r path; do
    file=$(basename "$path" .xz)
    xz -dc "$path" >"$root/lib/modules/$file"
    strip --strip-debug "$root/lib/modules/$file" # and with it the signature, whose check is slow under emulation
    echo "${file%.ko}"
  done >"$root/lib/modules/$set.list"
done

find "$root" -exec touch -h -d @0 {} +
mkdir -p "$output"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$output/initrd.img"
cp "packages/boot/vmlinuz-$version" "$output/vmlinuz"
for package in ./*.deb; do basename "$package" .deb; done >"$output/packages.txt"
