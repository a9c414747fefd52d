"""The real unit file under a really booted systemd: start, sandbox, stop, hang, crash, wrong configuration, secrets."""

from __future__ import annotations

import re

import pytest

from tests.peers.support import wait_until
from tests.systemd.node import CONFIG, RETRY, SECRET_FILE, SOCKET, UNIT, UNIT_FILE, Node

# The first run makes the bare Debian and the environment, which takes minutes.
pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
MAX_EXPOSURE = 1.5
"""0.4 of it for asking the kernel whether the clock is right, which systemd does not tell from setting it."""
STOP_S = 20
DISK = "/mnt/disk"
RECORDER, WATCHER = "edge_agent.capture.recorder", "edge_agent.capture.watcher"


def test_unit_files_are_right_and_expose_little(node: Node) -> None:
    checked = node.machine.run("systemd-analyze", "verify", UNIT_FILE, f"/etc/systemd/system/{RETRY}")
    assert checked.out + checked.err == ""
    rated = node.machine.run("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT_FILE).out
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rated)
    assert level is not None, rated
    assert float(level[1]) <= MAX_EXPOSURE, rated


def test_service_is_active_when_it_records_and_runs_boxed_in(node: Node) -> None:
    node.start_recording()
    assert (node.show("ActiveState"), node.show("SubState")) == ("active", "running")
    assert node.show("StatusText").startswith("recording 1 camera")
    assert node.show("WatchdogUSec") == "1min"
    children = node.children()
    assert sorted(children.values()) == [RECORDER, WATCHER]
    number = node.machine.run("id", "-u", "edge-agent").out.strip()
    assert number != "0"
    for pid in (node.main_pid, *children):
        status = _status(node, pid)
        assert set(status["Uid"].split()) == {number}
        assert {int(status[caps], 16) for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_sandbox_denies_what_the_agent_has_no_use_for(node: Node) -> None:
    said = node.run_in_sandbox(_TRY_FORBIDDEN.format(secret=SECRET_FILE))
    assert "allowed" not in said
    assert said.count("denied: ") == 9, said


def test_sandbox_lets_every_library_work(node: Node) -> None:
    assert "all libraries work" in node.run_in_sandbox(_TRY_LIBRARIES)


def test_stop_ends_children_and_seals_every_file_in_time(node: Node) -> None:
    node.start_recording()
    node.wait_for_log("sealed gate/")
    wait_until(lambda: "600" in node.segments().values(), 30, "a file that is being written")
    node.machine.run("systemctl", "stop", UNIT, seconds=STOP_S)
    assert (node.show("ActiveState"), node.show("Result")) == ("inactive", "success")
    assert node.children() == {}
    segments = node.segments()
    assert len(segments) >= 2
    assert set(segments.values()) == {"440"}
    assert [entry["kind"] for entry in node.journal()][:1] == ["start"]
    assert node.journal()[-1]["kind"] == "stop"
    assert "killed" not in node.log().lower()


def test_hung_agent_is_aborted_by_the_watchdog_and_comes_back(node: Node) -> None:
    node.drop_in(UNIT, "[Service]\nWatchdogSec=3\n")
    node.start_recording()
    hung, old = node.main_pid, set(node.children())
    node.forget_log()
    node.machine.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", UNIT)
    log = node.wait_for_log("camera gate: recording")
    assert "Watchdog timeout" in log
    assert "status=6/ABRT" in log
    assert "Fatal Python error: Aborted" in log, "the stacks that tell where it hung"
    assert node.show("ActiveState") == "active"
    assert node.main_pid != hung
    assert not old & set(node.children())


def test_watchdog_leaves_a_working_agent_alone(node: Node) -> None:
    node.drop_in(UNIT, "[Service]\nWatchdogSec=2\n")
    node.start_recording()
    before = node.main_pid
    wait_until(lambda: node.log().count("sealed gate/") >= 2, 30, "a second file, more than two watchdog periods on")
    assert (node.main_pid, node.show("NRestarts")) == (before, "0")


def test_killed_agent_leaves_no_orphans_and_comes_back(node: Node) -> None:
    node.start_recording()
    killed, old = node.main_pid, set(node.children())
    node.forget_log()
    node.machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT)
    node.wait_for_log("camera gate: recording")
    assert node.main_pid != killed
    children = node.children()
    assert sorted(children.values()) == [RECORDER, WATCHER]
    assert not old & set(children)
    assert [entry["kind"] for entry in node.journal()] == ["start", "start"]


def test_wrong_configuration_is_a_failure_with_its_message_and_is_tried_again(node: Node) -> None:
    node.drop_in(RETRY, "[Timer]\nOnActiveSec=\nOnActiveSec=2s\n")
    node.configure(CONFIG.replace('url = "rtsp:', 'url = "gopher:'))
    assert node.machine.run("systemctl", "start", UNIT, check=False).code != 0
    assert (node.show("ActiveState"), node.show("ExecMainStatus")) == ("failed", "78")
    log = node.log()
    assert "camera 1 (gate).url" in log
    assert "Scheduled restart job" not in log
    node.configure(CONFIG)
    wait_until(lambda: node.show("ActiveState") == "active", 20, "the corrected configuration, without anybody's help")


def test_retry_goes_on_for_as_long_as_the_configuration_is_wrong(node: Node) -> None:
    node.drop_in(RETRY, "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n")
    node.machine.run("rm", SECRET_FILE)
    assert node.machine.run("systemctl", "start", UNIT, check=False).code != 0
    log = wait_until(
        lambda: log if (log := node.log()).count("secret_gate.password") >= 3 else "", 20, "three tries, each told"
    )
    assert "No such file" in log


def test_archive_disk_that_comes_late_is_waited_for_and_never_recorded_beside(node: Node) -> None:
    run = node.machine.run
    node.drop_in(UNIT, f"[Service]\nReadWritePaths={DISK}/archive\n")
    node.configure(CONFIG.replace("[archive]", f'[archive]\npath = "{DISK}/archive"'))
    run("mkdir", "-p", DISK)
    try:
        assert run("systemctl", "start", UNIT, check=False).code != 0
        node.wait_for_log("status=226/NAMESPACE")
        node.wait_for_log(f"{DISK}/archive")
        run("mount", "-t", "tmpfs", "disk", DISK)
        run("install", "-d", "-o", "edge-agent", "-g", "edge-agent", "-m", "700", f"{DISK}/archive")
        node.wait_for_log("camera gate: recording")
        assert node.show("ActiveState") == "active"
        assert run("find", f"{DISK}/archive/gate", "-name", "*.mp4.age").out
        run("systemctl", "stop", UNIT)
        run("umount", DISK)
        assert run("find", DISK, "-mindepth", "1").out == ""
    finally:
        run("systemctl", "stop", UNIT, check=False)
        run("umount", DISK, check=False)


def test_camera_password_comes_as_a_credential_that_only_the_service_reads(node: Node) -> None:
    node.start_recording()  # the camera asks for the login, so there is no recording without the password
    credential = f"/run/credentials/{UNIT}/secret_gate.password"
    owner = node.machine.run("stat", "-c", "%U", credential).out.strip()
    assert owner == "edge-agent"
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat", credential)
    assert node.machine.run(*as_nobody, check=False).code != 0


def test_local_socket_is_for_people_of_the_group_only(node: Node) -> None:
    node.start()
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('{SOCKET}')"
    codes = {
        group: node.machine.run(
            "setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups", "python3", "-c", connect, check=False
        ).code
        for group in ("edge-agent", "nogroup")
    }
    assert codes["edge-agent"] == 0
    assert codes["nogroup"] != 0


def _status(node: Node, pid: int) -> dict[str, str]:
    lines = node.machine.run("cat", f"/proc/{pid}/status").out.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


_TRY_FORBIDDEN = """
import ctypes, mmap, os, socket, time
from pathlib import Path

def attempt(what, act):
    try:
        act()
    except OSError as error:
        print("denied:", what, error.strerror)
    else:
        print("allowed:", what)

attempt("write the system", lambda: Path("/usr/x").write_text("x"))
attempt("write the configuration", lambda: Path("/etc/edge-agent/edge-agent.toml").write_text("x"))
attempt("read root's secrets", lambda: Path("{secret}").read_text())
attempt("look into homes", lambda: os.listdir("/home"))
attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("written memory that runs", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC))
libc = ctypes.CDLL(None, use_errno=True)

def unshare():
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

attempt("a namespace of its own", unshare)
attempt("setting the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
"""

_TRY_LIBRARIES = """
import os, socket, ssl, sqlite3, threading
import av, boto3, cv2, numpy, psutil
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from paho.mqtt.client import Client, CallbackAPIVersion
from edge_agent import kernel_clock

os.nice(10)
psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
psutil.cpu_percent(), psutil.virtual_memory(), psutil.sensors_temperatures(), os.getloadavg()
picture = numpy.random.default_rng(1).integers(0, 255, (360, 640, 3), "uint8")
cv2.createBackgroundSubtractorMOG2().apply(cv2.GaussianBlur(picture, (5, 5), 0))
assert cv2.imencode(".jpg", picture)[0]
encoder = av.CodecContext.create("libx264", "w")
encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 640, 360, "yuv420p", 15
frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
packets = [*encoder.encode(frame), *encoder.encode()]
decoder = av.CodecContext.create("h264", "r")
assert [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
x25519.X25519PrivateKey.generate().exchange(x25519.X25519PrivateKey.generate().public_key())
ed25519.Ed25519PrivateKey.generate().sign(b"x")
ChaCha20Poly1305(bytes(32)).encrypt(bytes(12), b"x" * 65536, None)
ssl.create_default_context()
client = Client(CallbackAPIVersion.VERSION2)
client.connect_async("127.0.0.1", 1)
client.loop_start()
client.loop_stop()
boto3.session.Session().client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
socket.getaddrinfo("localhost", 443)
sqlite3.connect("/var/lib/edge-agent/x.sqlite").execute("pragma journal_mode = wal")
assert kernel_clock.read() is not None
print("all libraries work")
"""
