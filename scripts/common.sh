# What the scripts share. Sourced, not run.
# shellcheck shell=bash

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do printf ' hint: %s\n' "$hint" >&2; done
    exit 1
}

# Runs a command as root. Asks first, once, when that takes sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
        return
    fi
    command -v sudo >/dev/null || fail "this needs root: $*" "run it as root, or install sudo"
    if [ -z "${GLASSHOUSE_SUDO:-}" ]; then
        [ -t 0 ] || fail "this needs root: $*" "run it in a terminal, as root, or with GLASSHOUSE_SUDO=1 to allow sudo"
        printf 'Root is needed for: %s\nUse sudo for this and what follows? [y/N] ' "$*" >&2
        read -r answer
        case $answer in
        y | Y | yes) export GLASSHOUSE_SUDO=1 ;;
        *) fail "not without root" ;;
        esac
    fi
    sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY,ANTHROPIC_API_KEY,ANTHROPIC_BASE_URL,OPENAI_API_KEY,OPENAI_BASE_URL,DEBIAN_FRONTEND \
        "$@"
}

# Cargo may have been installed a minute ago by rustup, in a shell that did not know it then.
find_cargo() {
    command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
}

# The directory cargo builds into.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-target}"; }
