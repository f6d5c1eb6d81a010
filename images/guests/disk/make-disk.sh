#!/bin/sh
# Makes a disk that boots from BIOS and from UEFI (with Secure Boot too): make-disk.sh ESP ESP_MIB ROOT_IMAGE|- OUTPUT
#   ESP         folder with the EFI system partition's files, EFI/debian/grub.cfg among them: both firmwares come to it
#   ROOT_IMAGE  a file system for the third partition, or - for none
#   OUTPUT      the disk, qcow2
# Works without loop devices, mounts and root: partitions are made as files and laid side by side.
set -eu
esp=$1 esp_mib=$2 root_image=$3 output=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
disk=$work/disk.raw
sector=512
bios_start=2048                                # in sectors, as all of these
esp_start=4096
root_start=$((esp_start + esp_mib * 2048))
root_sectors=0
[ "$root_image" = - ] || root_sectors=$(($(stat -Lc %s "$root_image") / sector))
truncate -s "$(((root_start + root_sectors + 2048) * sector))" "$disk"

{
  echo "label: gpt"
  echo "start=$bios_start, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=bios"
  echo "start=$esp_start, size=$((esp_mib * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp"
  [ "$root_sectors" = 0 ] || echo "start=$root_start, size=$root_sectors, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root"
} | sfdisk --quiet "$disk"

# UEFI: Debian's signed shim and GRUB, at the path that firmware tries without an entry of its own.
mkdir -p "$esp/EFI/BOOT"
cp /usr/lib/shim/shimx64.efi.signed "$esp/EFI/BOOT/BOOTX64.EFI"
cp /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed "$esp/EFI/BOOT/grubx64.efi"
truncate -s "${esp_mib}M" "$work/esp"
mkfs.fat -n ESP --invariant "$work/esp" >/dev/null
mcopy -s -i "$work/esp" "$esp"/* ::/
dd if="$work/esp" of="$disk" bs=1M seek=$((esp_start / 2048)) conv=notrunc,sparse status=none
[ "$root_image" = - ] || dd if="$root_image" of="$disk" bs=1M seek=$((root_start / 2048)) conv=notrunc,sparse status=none

# BIOS: what grub-install would do to a real disk. boot.img (in the MBR) names core.img's first sector at 0x5c,
# and that sector names the rest at the start of its block list, 0x1f4 (GRUB's kernel_sector and blocklist).
cat >"$work/core.cfg" <<'CFG'
search --no-floppy --file --set=root /EFI/debian/grub.cfg
configfile ($root)/EFI/debian/grub.cfg
CFG
grub-mkimage -O i386-pc -o "$work/core.img" -p /boot/grub -c "$work/core.cfg" \
  biosdisk part_gpt fat ext2 normal configfile linux boot search search_label search_fs_file test echo minicmd
[ "$(stat -c %s "$work/core.img")" -le $((2048 * sector)) ]
little_endian() { # of 64 bits
  value=$1
  for _ in 1 2 3 4 5 6 7 8; do
    printf "\\$(printf %03o $((value & 255)))"
    value=$((value >> 8))
  done
}
cp /usr/lib/grub/i386-pc/boot.img "$work/boot.img"
little_endian $bios_start | dd of="$work/boot.img" bs=1 seek=$((0x5c)) conv=notrunc status=none
little_endian $((bios_start + 1)) | dd of="$work/core.img" bs=1 seek=$((0x1f4)) conv=notrunc status=none
dd if="$work/boot.img" of="$disk" bs=1 count=440 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=$sector seek=$bios_start conv=notrunc status=none

qemu-img convert -O qcow2 -c -o compression_type=zstd "$disk" "$output"
