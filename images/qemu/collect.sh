#!/bin/sh
# Copies the files of the packages that are newer than the list $1 into the tree $2, less what x86 machines in
# a container never use.
set -eu
before=$1 out=$2
mkdir -p "$out/var/lib/dpkg/status.d"
dpkg-query --show --showformat '${Package}\n' | sort > /after
sort "$before" | comm -13 - /after > /new

while read -r package; do
  dpkg-query --status "$package" > "$out/var/lib/dpkg/status.d/$package"
  dpkg-query --listfiles "$package"
done < /new | sort -u | while read -r path; do
  case $path in
    /usr/share/doc/* | /usr/share/man/* | /usr/share/locale/* | /usr/share/lintian/* | /usr/share/bug/*) continue ;;
    /usr/share/applications/* | /usr/share/icons/* | /usr/share/metainfo/* | /usr/share/alsa/*) continue ;;
    /usr/share/bash-completion/* | /usr/share/gdb/* | /usr/lib/systemd/* | /etc/*) continue ;;
    # Other architectures' firmware and programs.
    /usr/bin/qemu-system-i386 | */hppa-firmware* | */skiboot.lid | */slof.bin | */openbios-* | */u-boot* | */s390-*) continue ;;
    *.dtb | */palcode-* | */QEMU,* | */npcm* | */vof.bin | */linux-user-vdso* | */trace-events-all) continue ;;
    # Boot ROMs: QEMU's current machine types load the EFI ones, which boot under BIOS too.
    */pxe-*.rom | */efi-ne2k* | */efi-eepro* | */efi-pcnet*) continue ;;
    # Helpers that need rights on the node, a second init, sound, braille and smart cards.
    */qemu-pr-helper | */qemu-vmsr-helper | */tini-static | */qemu/audio-* | */qemu/chardev-baum.so) continue ;;
    */qemu/hw-s390x-* | */qemu/hw-usb-smartcard.so | */qemu/ui-curses.so) continue ;;
    */OVMF.fd | */OVMF_CODE_4M.secboot.strictnx.fd) continue ;;
  esac
  if [ -L "$path" ] || [ -f "$path" ]; then
    mkdir -p "$out$(dirname "$path")"
    cp -a "$path" "$out$path"
  fi
done

# A program that lost a library must fail the build, not a VM.
for program in "$out"/usr/bin/* "$out"/usr/lib/x86_64-linux-gnu/qemu/*.so; do
  [ -L "$program" ] && continue
  if ldd "$program" 2>/dev/null | grep -q 'not found'; then
    echo "collect: $program misses a library" >&2
    exit 1
  fi
done
