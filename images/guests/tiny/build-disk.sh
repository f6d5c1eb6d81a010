#!/bin/sh
# Puts the tiny guest on a disk that boots by itself: build-disk.sh SOURCES FOLDER (with vmlinuz and initrd.img)
set -eu
sources=$1 folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/EFI/debian"
cp "$folder/vmlinuz" "$folder/initrd.img" "$work/"
cp "$sources/esp-grub.cfg" "$work/EFI/debian/grub.cfg"
sh "$sources/../disk/make-disk.sh" "$work" 26 - "$folder/disk.qcow2"
