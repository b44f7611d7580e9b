#!/bin/sh
# The first process of the virtual machine of test-in-vm.sh. Runs the tests, then turns the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/var/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
# A full system makes it from the list of modules; opening it loads the module.
[ -e /dev/loop-control ] || mknod -m 660 /dev/loop-control c 10 237

# As under a service manager: the server is in a service's group, and not every controller is handed on.
service=/sys/fs/cgroup/system.slice/glasshouse.service
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p "$service"
echo $$ >"$service/cgroup.procs"

code=0
# shellcheck disable=SC2046
/mnt/it --test-threads=1 $(cat /mnt/arguments) || code=$?
echo "vm-exit $code"
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
