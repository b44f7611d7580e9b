# Runs a recipe's script as root inside an unfinished image. The caller has made a mount and a pid namespace for this
# shell, so all that is mounted here vanishes with it, and all that it starts dies with it.
# $1 root of the image, $2 lower directories or "", $3 upper, $4 work, $5 recipe, $6 CA bundle or "", $7 script
set -eu
root=$1 lower=$2 upper=$3 work=$4 recipe=$5 ca=$6 script=$7

if [ -n "$lower" ]; then
    # Without these the kernel may record renames as redirects, which only make sense on this very mount.
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work,redirect_dir=nofollow,metacopy=off,index=off" "$root"
else
    mount --bind "$upper" "$root"
fi

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"

# What the script needs of the host comes through /run, which is no part of the image.
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"
mkdir "$root/run/recipe"
mount --bind "$recipe" "$root/run/recipe"
mount -o remount,bind,ro "$root/run/recipe"
if [ -n "$ca" ]; then
    : > "$root/run/ca.crt"
    mount --bind "$ca" "$root/run/ca.crt"
    mount -o remount,bind,ro "$root/run/ca.crt"
fi
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/tmp"
for file in resolv.conf hosts; do
    if [ -f "$root/etc/$file" ] && [ -f "/etc/$file" ]; then
        mount --bind "/etc/$file" "$root/etc/$file"
        mount -o remount,bind,ro "$root/etc/$file"
    fi
done

cd /
exec chroot "$root" /bin/sh "/run/recipe/$script"
