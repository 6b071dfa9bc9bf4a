#!/bin/bash
# Enters a Debian folder as the root of a mount namespace of its own and runs a command there:
#     unshare --mount --pid --fork --kill-child enter.sh FOLDER COMMAND ARGUMENT…
# By pivot_root, since inside a chroot the kernel denies new user namespaces. Network, /dev and
# /sys (with the cgroups) are the host's. This shell stays as process 1 and reaps orphans.
set -euo pipefail

root=$1
shift

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"

# How this host reaches package registries: certificates, resolver, pip's and uv's settings.
for path in /etc/ssl /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/uv /usr/local/share/ca-certificates; do
    [ -e "$path" ] || continue
    target=$root$path
    if [ -d "$path" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}" && rm -f "$target" && touch "$target"; fi
    mount --rbind "$(readlink -f "$path")" "$target"
    mount -o remount,bind,ro "$target"
done

cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old

# Not exec: process 1 must outlive the command to reap what it leaves.
"$@"
