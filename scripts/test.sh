#!/usr/bin/env bash
# Every test, the quick ones first. Stops at the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# One unit test makes a control group, which only root may; it runs with the others that need root.
only_root=v2_freezes_thaws_and_kills

if [ "${1:-}" != --as-root ]; then
    # Sourced, so that sudo is asked for once.
    . scripts/setup.sh --test
    scripts/lint.sh
    say "unit tests"
    cargo test --workspace --locked --lib --bins -- --skip "$only_root"
    cargo test --workspace --locked --doc
else
    . scripts/common.sh
    find_cargo
fi
mkdir -p artefacts

# Sandboxes are made by root, so what makes them runs as root.
if [ "$(id -u)" != 0 ]; then
    say "the other tests make real sandboxes and need root"
    as_root env "PATH=$PATH" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" \
        "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" "CARGO_TARGET_DIR=$(realpath -m "$(target_dir)")" \
        scripts/test.sh --as-root
    # What root has built and kept is ours.
    as_root chown -R "$(id -u):$(id -g)" artefacts "$(target_dir)"
    exit
fi

# Cargo goes through the crates by name: those of the parts come first, the whole product (`glasshouse`) last.
say "integration tests, then end to end; screenshots and logs go to artefacts/"
cargo test --workspace --locked --lib -- "$only_root"
cargo test --workspace --locked --test '*'
say "all tests pass"
