#!/usr/bin/env bash
# Measures on this machine. Needs root, as sandboxes do.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh --test
[ "$(id -u)" = 0 ] || fail "the benchmarks make real sandboxes and need root" "run \`sudo -E make bench\`"
cargo bench --locked -p glasshouse --bench platform -- "$@"
