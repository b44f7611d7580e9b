#!/bin/sh
# Puts the coding agents and their ACP adapters into /opt/agents. Runs as root inside the image.
set -eu

claude=2.1.329
claude_acp=0.100.0
opencode=1.18.33

case $(uname -m) in
x86_64) cpu=x64 ;;
aarch64) cpu=arm64 ;;
*)
    echo "no agent is published for $(uname -m); x86_64 and aarch64 are" >&2
    exit 1
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only packages that hold the programs themselves: no install script runs, and nothing is fetched from elsewhere.
add() {
    echo "installing $2"
    mkdir -p "/opt/agents/$1"
    npm install --prefix "/opt/agents/$1" --cache "$work/npm" --no-audit --no-fund --ignore-scripts --omit=optional "$2"
}
add claude "@anthropic-ai/claude-code-linux-$cpu@$claude"
add claude-acp "@agentclientprotocol/claude-agent-acp@$claude_acp"
add opencode "opencode-linux-$cpu@$opencode"

link() {
    chmod 755 "$2"
    ln -s "$2" "/usr/local/bin/$1"
}
link claude "/opt/agents/claude/node_modules/@anthropic-ai/claude-code-linux-$cpu/claude"
link claude-agent-acp /opt/agents/claude-acp/node_modules/.bin/claude-agent-acp
link opencode "/opt/agents/opencode/node_modules/opencode-linux-$cpu/bin/opencode"

# Only what runs is kept: sources and maps of the adapter's dependencies are never read.
find /opt/agents -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

echo "claude $(claude --version), opencode $(HOME=$work opencode --version)"
test -x "$(readlink -f /usr/local/bin/claude-agent-acp)"
rm -rf /root/.npm /root/.claude /root/.claude.json /root/.cache /root/.config /root/.local
