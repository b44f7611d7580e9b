#!/usr/bin/env bash
# Installs what is missing to build and to run, and with --test also what the tests need. Changes nothing that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

# A program, or a file, and the package that brings it.
needed=(
    cc:gcc
    make:make
    curl:curl
    /etc/ssl/certs/ca-certificates.crt:ca-certificates
    mmdebstrap:mmdebstrap
    mkfs.ext4:e2fsprogs
    mkfs.xfs:xfsprogs
    losetup:mount
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
)
if [ "${1:-}" = --test ]; then
    needed+=(
        chromium:chromium
        chromedriver:chromium-driver
        dockerd:docker.io
        docker-registry:docker-registry
        skopeo:skopeo
        /bin/busybox:busybox-static
        git:git
        python3:python3
        ip:iproute2
        /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf:fonts-dejavu-core
    )
fi

is_there() {
    case $1 in
    /*) [ -e "$1" ] ;;
    # Not every user has the places of system programs on the path.
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
    esac
}

# Debian's docker-registry would start a service of its own. Nobody asked for one, least of all on the port it takes.
install() {
    as_root sh -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            trap "exit 130" INT TERM
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
        fi
        apt-get install -y -qq --no-install-recommends "$@"
    ' sh "$@"
}

packages=()
for entry in "${needed[@]}"; do
    is_there "${entry%%:*}" || packages+=("${entry#*:}")
done
if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
        fail "not installed here: ${packages[*]}" "this script knows Debian and Ubuntu; install them with your own package manager"
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq
    install "${packages[@]}"
fi

# gVisor, for the tests of that tier. Not every Debian has it; they say so then.
if [ "${1:-}" = --test ] && ! is_there runsc; then
    export DEBIAN_FRONTEND=noninteractive
    if command -v apt-get >/dev/null && as_root apt-get update -qq && apt-cache show runsc >/dev/null 2>&1; then
        say "installing runsc"
        install runsc
    else
        say "no package runsc here: the isolation tier gvisor is NOT TESTED"
    fi
fi

# A server that speaks S3, for the tests of the archive. Debian has none.
if [ "${1:-}" = --test ]; then
    moto="${XDG_CACHE_HOME:-$HOME/.cache}/glasshouse/tests/moto"
    version=5.2.5
    if [ ! -e "$moto/complete-$version" ]; then
        if ! python3 -c 'import ensurepip' 2>/dev/null; then
            as_root apt-get update -qq
            install python3-venv
        fi
        say "installing moto $version"
        rm -rf "$moto"
        python3 -m venv "$moto"
        "$moto/bin/pip" install -q --disable-pip-version-check "moto[server]==$version"
        touch "$moto/complete-$version"
    fi
fi

find_cargo
if ! command -v cargo >/dev/null; then
    if curl -fsS --max-time 20 -o /dev/null https://sh.rustup.rs; then
        say "installing Rust by rustup"
        curl -fsS https://sh.rustup.rs | sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain none
    else
        say "installing Rust by Debian's rustup"
        as_root apt-get update -qq
        install rustup ||
            fail "no Rust toolchain, and none can be installed from here" "install rustup, then run this again"
    fi
    find_cargo
fi
# rust-toolchain.toml names the version; rustup fetches it when it is not there yet.
if command -v rustup >/dev/null; then
    rustup show active-toolchain >/dev/null 2>&1 || rustup toolchain install
fi
