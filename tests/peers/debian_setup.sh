#!/bin/sh
# Unpacks programs that Debian 12 does not carry, from another release of Debian, into .cache (nothing is installed):
#   .cache/live555   LIVE555's media server, out of which many cameras' firmware is made; with its own C library
#   .cache/gpac      GPAC's MP4Box; with those libraries only that this machine does not have
# Does nothing when they are there already.  Needs no root; apt checks the signatures.
set -eu
cd "$(dirname "$0")/../.."

# Other releases stand on the mirror that this machine has its own packages from.
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get --print-uris update | sed -n "s|^'\(.*\)/dists/$release/InRelease'.*|\1|p" | head -n 1)
[ -n "$mirror" ] || { echo "apt has no source for Debian $release: see /etc/apt/sources.list" >&2; exit 1; }

# unpack NAME SUITE PACKAGE PROGRAM [STATUS]: PACKAGE and what it needs beyond STATUS (what dpkg has) to .cache/NAME.
unpack() {
    name=$1 suite=$2 package=$3 program=$4 status=${5:-}
    place=$PWD/.cache/$name
    if [ "$(cat "$place/made-from" 2>/dev/null || true)" = "$suite $package" ] && [ -x "$place/$program" ]; then
        return
    fi
    echo "unpacking $package of Debian $suite" >&2
    rm -rf "$place"
    work=$place/apt
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    : > "$work/none"
    origin="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror"
    echo "$origin $suite main" > "$work/sources.list"
    if [ -n "$status" ]; then
        echo "$origin $release main" >> "$work/sources.list"
    fi
    {
        echo "Dir::Etc::SourceList \"$work/sources.list\";"
        echo 'Dir::Etc::SourceParts "/dev/null";'
        echo "Dir::State::Lists \"$work/lists\";"
        echo "Dir::State::Status \"${status:-$work/none}\";"
        echo "Dir::Cache \"$work/cache\";"
        echo 'Debug::NoLocking "true";'
        echo 'Acquire::Languages "none";'
        echo 'Acquire::Check-Valid-Until "false";'
        echo 'APT::Sandbox::User "";'
    } > "$work/apt.conf"
    APT_CONFIG=$work/apt.conf apt-get update -qq >&2
    APT_CONFIG=$work/apt.conf apt-get install -qq -y --no-install-recommends --download-only "$package" > /dev/null
    for file in "$work"/cache/archives/*.deb; do
        dpkg-deb --extract "$file" "$place"
    done
    rm -rf "$work"
    [ -x "$place/$program" ] || { echo "$package of Debian $suite has no $program" >&2; exit 1; }
    echo "$suite $package" > "$place/made-from"
}

unpack live555 forky livemedia-utils usr/bin/live555MediaServer
unpack gpac bullseye gpac usr/bin/MP4Box /var/lib/dpkg/status
