#!/bin/sh
# Makes the environment of the Home Assistant that discovery is tried against: its core and what its MQTT needs, in a
# venv of its own (about two minutes and 400 MB), cached in .cache/ha-venv. Does nothing when it is there already.
set -eu
cd "$(dirname "$0")/../.."
venv=.cache/ha-venv
# The newest that runs on Python 3.11.
version=2024.3.3
if [ "$(cat "$venv/made-with" 2>/dev/null || true)" = "$version" ]; then
    exit 0
fi
rm -rf "$venv"
"${EDGE_PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check \
    "homeassistant==$version" paho-mqtt==1.6.1 janus==1.0.0 PyTurboJPEG==1.7.1
echo "$version" > "$venv/made-with"
