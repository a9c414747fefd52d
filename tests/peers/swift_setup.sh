#!/bin/sh
# Makes the environment of the object store that the upload tests talk to: OpenStack Swift in a venv of its own,
# cached in .cache/swift-venv. Does nothing when it is there already.
set -eu
cd "$(dirname "$0")/../.."
venv=.cache/swift-venv
version=2.38.3
if [ "$(cat "$venv/made-with" 2>/dev/null || true)" = "$version" ]; then
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
# swift still imports pkg_resources, which newer setuptools no longer bring.
"$venv/bin/pip" install --quiet --disable-pip-version-check "swift==$version" 'setuptools<80'
echo "$version" > "$venv/made-with"
