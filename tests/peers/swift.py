"""A real object store with an S3 door on loopback: OpenStack Swift, four daemons, one replica on one folder.

Strict where emulators are lenient: it refuses wrong keys, wrong checksums and parts out of order.  `swift_setup.sh`
makes its environment.  Access key `test:tester`, secret key `testing`, region us-east-1.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from edge_agent.config import S3Target
from tests.peers.support import ManagedProcess, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".cache" / "swift-venv" / "bin"
ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"

_PIPELINE = (
    "catch_errors gatekeeper proxy-logging cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes"
    " symlink proxy-logging proxy-server"
)
_FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "proxy-logging": "egg:swift#proxy_logging",
    "cache": "egg:swift#memcache\nmemcache_servers = 127.0.0.1:1",
    "listing_formats": "",
    "bulk": "",
    "s3api": f"\nlocation = {REGION}\ns3_acl = false\nmin_segment_size = 1048576",
    "tempauth": f"\nuser_{ACCESS_KEY.replace(':', '_')} = {SECRET_KEY} .admin",
    "copy": "",
    "slo": "",
    "dlo": "",
    "versioned_writes": "\nallow_object_versioning = true",
    "symlink": "",
}


class Swift:
    """`with Swift(tmp_path) as store:` – four daemons, up when entered, ended at the end.

    `kill` ends all of them at once; `start` brings them back on the same ports with what they had stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "swift"
        (self.folder / "devices" / "d1").mkdir(parents=True)
        self._ports = {kind: free_port() for kind in ("account", "container", "object", "proxy")}
        self._processes: list[ManagedProcess] = []
        self._write_files()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    def client(self) -> Any:
        """A boto3 client to look at the store from beside."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def target(
        self, bucket: str, *, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, prefix: str = ""
    ) -> S3Target:
        """An upload target in this store, its keys in files; the bucket is not made."""
        files = []
        for name, secret in (("access", access_key), ("secret", secret_key)):
            file = self.folder / f"{name}-{len(list(self.folder.glob('*.key')))}.key"
            file.touch(mode=0o600)
            file.write_text(secret + "\n")
            files.append(str(file))
        return S3Target(
            kind="s3",
            name="cloud",
            endpoint=self.endpoint,
            bucket=bucket,
            region=REGION,
            prefix=prefix,
            access_key_file=files[0],
            secret_key_file=files[1],
        )

    def start(self) -> None:
        for kind in self._ports:
            config = self.folder / f"{kind}-server.conf"
            self._processes.append(
                ManagedProcess(
                    [BIN / f"swift-{kind}-server", config, "-v"],
                    self.folder / f"{kind}.log",
                    env={"SWIFT_DIR": str(self.folder)},
                    grace_s=1.0,
                )
            )
        wait_until(self._answers, 30, f"Swift; its logs are in {self.folder}")

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.end()
        self._processes.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except AssertionError:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answers(self) -> bool:
        for kind, port in self._ports.items():
            path = "/info" if kind == "proxy" else "/recon/version"
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as probe:
                    probe.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                    answer = probe.recv(64)
            except OSError:
                return False
            if not answer.startswith(b"HTTP/1.") or b" 503" in answer:
                return False
        return True

    def _write_files(self) -> None:
        if not (BIN / "swift-proxy-server").exists():
            raise AssertionError("Swift is not there: run tests/peers/swift_setup.sh")
        (self.folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n"
            "[storage-policy:0]\nname = Policy-0\ndefault = yes\n"
        )
        for kind in ("account", "container", "object"):
            pipeline = f"[pipeline:main]\npipeline = recon {kind}-server\n"
            recon = f"[filter:recon]\nuse = egg:swift#recon\nrecon_cache_path = {self.folder}\n"
            self._write_config(kind, pipeline + recon)
            builder = self.folder / f"{kind}.builder"
            where = f"r1z1-127.0.0.1:{self._ports[kind]}/d1"
            for words in (["create", "4", "1", "1"], ["add", where, "1"], ["rebalance"]):
                made = subprocess.run(
                    [BIN / "swift-ring-builder", builder, *words], capture_output=True, text=True, check=False
                )
                # 1 is its warning that one replica on one device is not a cluster.
                if made.returncode > 1:
                    raise AssertionError(f"swift-ring-builder {words}: {made.stdout}{made.stderr}")
        filters = "".join(
            f"[filter:{name}]\nuse = {more if more.startswith('egg:') else f'egg:swift#{name}{more}'}\n"
            for name, more in _FILTERS.items()
        )
        self._write_config(
            "proxy", f"[pipeline:main]\npipeline = {_PIPELINE}\n{filters}", "account_autocreate = true\n"
        )

    def _write_config(self, kind: str, body: str, app: str = "") -> None:
        (self.folder / f"{kind}-server.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self._ports[kind]}\nworkers = 0\n"
            f"swift_dir = {self.folder}\ndevices = {self.folder / 'devices'}\nmount_check = false\n"
            "disable_fallocate = true\nlog_level = INFO\n"
            f"{body}[app:{kind}-server]\nuse = egg:swift#{kind}\n{app}"
        )
