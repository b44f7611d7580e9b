#!/usr/bin/env bash
# From a bare machine to a running server. Run again it is quick and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
# Sourced, so that sudo is asked for once.
. scripts/setup.sh --run
say "building"
cargo build --release --locked -p glasshouse
program="$(realpath "$(target_dir)")/release/glasshouse"

# On the path, so that `glasshouse` works from anywhere.
link=/usr/local/bin/glasshouse
if [ "$(readlink -f "$link" 2>/dev/null || true)" != "$program" ]; then
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        say "$link is another program and stays; call $program instead"
    else
        as_root ln -sfn "$program" "$link"
    fi
fi

as_root "$program" up "$@"

# The server belongs to root, and so does its token. Whoever runs this may talk to it too.
if [ "$(id -u)" != 0 ] && [ -z "${GLASSHOUSE_DATA:-}" ]; then
    data="${XDG_DATA_HOME:-$HOME/.local/share}/glasshouse"
    mkdir -p "$data"
    (
        umask 077
        as_root cat /var/lib/glasshouse/token >"$data/token.new"
        mv "$data/token.new" "$data/token"
    )
fi
