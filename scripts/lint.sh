#!/usr/bin/env bash
# The format and the lints. Warnings are errors here.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
find_cargo

say "format"
cargo fmt --all --check
say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
