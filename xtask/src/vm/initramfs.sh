#!/bin/sh
# From the kernel to systemd: the disk, what is shared with the host, and the
# unit that runs the command. Made by `xtask vm --host systemd`.
set -e
trap 'echo "initramfs: failed, see above"; sleep 3600' EXIT
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module"
done </modules/order
tries=0
until [ -b /dev/vda ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ]
    usleep 100000
done
mount -t ext4 -o rw /dev/vda /new
# Tag, place and options, in the order in which they go over each other.
while read -r tag place options; do
    mkdir -p "/new$place"
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$options" "$tag" "/new$place"
done </shares
mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new/run/systemd/system/multi-user.target.wants
cp /vmward-vm.service /new/run/systemd/system/
ln -s ../vmward-vm.service /new/run/systemd/system/multi-user.target.wants/
mount --move /dev /new/dev
umount /sys /proc
trap - EXIT
exec switch_root /new /sbin/init
