#!/bin/sh
# Start one engine inside namespaces of its own: launch.sh ROOT FOLDER [NAME=VALUE...] chroot ROOT COMMAND...
#
# ROOT    an unpacked package tree of the cache; several engines share it, so it is mounted read-only
# FOLDER  the engine's own folder on the host; it holds the socket and is seen inside as /engine
#
# This is process 1 of a new user, mount, network and process namespace. Everything that the engine writes
# lies on a tmpfs of that mount namespace, so all of it is gone with the engine, however that ends.
set -eu
root=$1 folder=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$folder" "$root/engine"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for writable in dev/shm run tmp etc/docker opt var/lib/docker var/tmp; do
  mount -t tmpfs -o mode=0755 tmpfs "$root/$writable"
done
mount -o remount,bind,ro "$root"
exec env -i HOME=/run TMPDIR=/tmp XDG_RUNTIME_DIR=/run PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
