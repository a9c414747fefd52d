"""`edge-agent keys make` and `show`: the keys a node has of its own; only their public halves are ever shown."""

from __future__ import annotations

from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.config import Config, load
from edge_agent.daemon import node_identities
from edge_agent.errors import NotFoundError
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json
from edge_agent.trust.age import load_identities
from edge_agent.trust.keys import load_key, public_key_of
from edge_agent.trust.node_key import node_key_path, node_signing_key
from edge_agent.trust.tls_key import fingerprint, signing_request, tls_key


def make(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Make what is missing of the node's keys, as the user of the service; print their public halves.

    A key that is there stays as it is.  The request for the broker's certificate is written beside the TLS key.
    """
    node = load(config, files=False)  # the TLS key that it names is made here, its certificate comes later
    node_signing_key(node.data_dir)
    node_identities(node, SystemClock())
    request = signing_request(tls_key(_tls_path(node)), f"edge-{node.site}-{node.node}")
    _tls_path(node).with_suffix(".csr").write_bytes(request)
    _tell(node, as_json)


def show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print the public halves."""
    _tell(load(config, files=False), as_json)


def _tell(node: Config, as_json: bool) -> None:
    needed = [node_key_path(node.data_dir), _tls_path(node)]
    if node.archive.node_reads:
        needed.append(node.identity_path)
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        raise NotFoundError(f"{', '.join(missing)}: not there; `edge-agent keys make` makes what is missing")
    told = {"public_key": str(public_key_of(load_key(node_key_path(node.data_dir))))}
    if node.archive.node_reads:
        told["recipient"] = str(load_identities(node.identity_path)[0].recipient)
    told["tls_sha256"] = fingerprint(tls_key(_tls_path(node)))
    told["tls_request"] = str(_tls_path(node).with_suffix(".csr"))
    if as_json:
        print_json({"ok": True, **told})
        return
    for name, value in told.items():
        print(f"{name:<12}{value}")


def _tls_path(node: Config) -> Path:
    return node.data_dir / "keys" / "tls.key"
