#!/usr/bin/env bash
# Runs the tests of the native runtime in a virtual machine: Debian's own kernel, control groups of version 2 alone.
# Needs root and some minutes, as the machine is emulated. Arguments go to the test program, for instance a test's name.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh --test
[ "$(id -u)" = 0 ] || fail "the root file system of the virtual machine is made by root" "run it with sudo -E"
missing=()
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
command -v cpio >/dev/null || missing+=(cpio)
[ ${#missing[@]} = 0 ] || apt-get install -y -qq --no-install-recommends "${missing[@]}"

vm=$(realpath -m "$(target_dir)")/vm
mkdir -p "$vm"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ ! -e "$vm/root.img" ]; then
    say "making the root file system of the virtual machine, once"
    root=$scratch/root
    mmdebstrap --quiet --variant=minbase \
        --include=linux-image-amd64,busybox-static,e2fsprogs,xfsprogs,mount,iproute2,kmod bookworm "$root"
    kernel=$(basename "$root"/lib/modules/*)
    mkdir -p "$scratch"/init/{bin,dev,root,modules}
    cp "$root/bin/busybox" "$scratch/init/bin/"
    for module in virtio_pci virtio_blk crc32c_generic ext4; do
        chroot "$root" modprobe -S "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !/crc32c-intel/ && !seen[$2]++ { print $2 }' >"$scratch/modules"
    while read -r module; do
        cp "$root$module" "$scratch/init/modules/"
        basename "$module"
    done <"$scratch/modules" >"$scratch/init/order"
    cat >"$scratch/init/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </order
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -t ext4 -o ro /dev/vdb /root/mnt
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /mnt/vm-init.sh
INIT
    chmod 755 "$scratch/init/init"
    (cd "$scratch/init" && find . | cpio -o -H newc --quiet | gzip) >"$vm/initrd.gz"
    cp "$root/boot/vmlinuz-$kernel" "$vm/vmlinuz"
    rm -r "$root/boot"
    mke2fs -q -F -t ext4 -O ^has_journal -d "$root" "$scratch/root.img" 8G
    cp --sparse=always "$scratch/root.img" "$vm/root.img"
    rm -r "$root" "$scratch/root.img"
fi

say "building"
binary=$(cargo test --locked -p glass-runtime --test it --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p')
mkdir "$scratch/payload"
strip -S -o "$scratch/payload/it" "$binary"
cp scripts/vm-init.sh "$scratch/payload/"
echo "${*:---skip sim::}" >"$scratch/payload/arguments"
mke2fs -q -F -t ext4 -d "$scratch/payload" "$scratch/payload.img" 200M

say "testing in the virtual machine"
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G -nographic -no-reboot -nic none \
    -kernel "$vm/vmlinuz" -initrd "$vm/initrd.gz" \
    -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all" \
    -drive "file=$vm/root.img,format=raw,if=virtio,snapshot=on,cache=unsafe" \
    -drive "file=$scratch/payload.img,format=raw,if=virtio,readonly=on" </dev/null | tee "$scratch/console"
grep -q '^vm-exit 0' "$scratch/console" || fail "tests failed in the virtual machine"
