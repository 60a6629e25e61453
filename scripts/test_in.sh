#!/bin/sh
# Run a command on the committed tree in a bare Debian, where nothing was installed by hand:
#
#   test_in.sh trixie               make test
#   test_in.sh sid 'make demo'      any other command
#
# bookworm (12) has R 4.2, trixie (13) R 4.5, and sid the R of today. Needs root, and debootstrap, which apt brings. The
# system stays in TREES (by default in /var/tmp), for the next run; remove it for a bare one.
set -eu
cd "$(dirname "$0")/.."

suite=${1:?which Debian: bookworm, trixie or sid}
command=${2:-make test}
tree=${TREES:-/var/tmp/pymer4-debian}/$suite

[ "$(id -u)" = 0 ] || { printf 'A bare Debian needs root: sudo make test-in SUITE=%s\n' "$suite" >&2; exit 1; }
command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq install -y debootstrap >/dev/null; }

# How this machine reaches the network.
network='/etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /etc/apt/apt.conf.d/9*'

if [ ! -e "$tree/made" ]; then
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1)
    rm -rf "$tree"
    mkdir -p "$tree"
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=python3,python3-pip,make,git,ca-certificates "$suite" "$tree" $mirror \
        >"$tree.log" 2>&1 || { tail -n 5 "$tree.log" >&2; exit 1; }
    for file in $network; do
        [ ! -f "$file" ] || { mkdir -p "$tree${file%/*}" && cp -L "$file" "$tree$file"; }
    done
    touch "$tree/made"
fi

[ -d "$tree/srv/pymer4" ] || git clone -q "$PWD" "$tree/srv/pymer4"
git -C "$tree/srv/pymer4" fetch -q "$PWD" HEAD
git -C "$tree/srv/pymer4" reset -q --hard FETCH_HEAD

# The mounts end with this process, so that the tree can be removed at any time.
# shellcheck disable=SC2016
exec unshare --mount --propagation private sh -c '
    mount --bind /proc "$1/proc" && mount --bind /dev "$1/dev" || exit 1
    exec chroot "$1" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        ${CI:+CI="$CI"} PIP_CERT=/etc/ssl/certs/ca-certificates.crt sh -c "cd /srv/pymer4 && $2"' \
    test_in "$tree" "$command"
