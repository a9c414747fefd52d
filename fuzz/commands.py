"""Commands from whoever can reach the broker or the local socket: nothing is done that its signer may not order.

The check judges each token by rules of its own, written down here once more: the door must never do more.
"""

from __future__ import annotations

import base64
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds, hold_id
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.buffer.register import Entry, Register
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.clock_watch import ClockWatch
from edge_agent.config import Config
from edge_agent.messages import ExportStep
from edge_agent.model import CameraId, Hold, Interval, PersonId, Segment
from edge_agent.modes.standing import Modes
from edge_agent.trust.age import Identity
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.door import Door
from edge_agent.trust.journal import BadLine, Journal, Outcome
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access, Person, Role
from edge_agent.uplink.archive_orders import ArchiveOrders
from edge_agent.uplink.clock_orders import ClockOrders
from edge_agent.uplink.commands import Commands
from edge_agent.uplink.exports import Exports, Release
from edge_agent.uplink.hold_orders import HoldOrders
from edge_agent.uplink.incident_orders import IncidentOrders
from edge_agent.uplink.mode_orders import ModeOrders
from edge_agent.uplink.payloads import MAX_JSON_BYTES, Health, Reply, ReplyState
from edge_agent.uplink.visit_orders import VisitOrders
from edge_agent.visits import Visits
from fuzz.mutate import json_with_prefix
from fuzz.target import Check, Script, Target, require
from tests.simulators.clock import HandClock

SITE, NODE = "melitopol", "node-7"
AUDIENCE = f"{SITE}/{NODE}"
NOW_S = 1_790_000_000
PEOPLE = {str(role): role for role in Role}
"""One person of each role, called like it."""
KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number, name in enumerate(PEOPLE, 1)}
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\xee" * 32)
MAY = {
    ("mayor", "status", "remote"), ("deputy", "status", "remote"), ("operator", "status", "remote"),
    ("archive_officer", "status", "remote"), ("contractor", "status", "direct"),
    ("archive_officer", "export", "remote"), ("archive_officer", "export", "direct"),
    ("contractor", "export", "direct"),
    ("archive_officer", "hold", "remote"), ("archive_officer", "hold", "direct"),
    ("archive_officer", "hold_end", "remote"), ("archive_officer", "hold_end", "direct"),
    ("archive_officer", "holds", "remote"), ("archive_officer", "holds", "direct"),
    ("mayor", "holds", "remote"), ("deputy", "holds", "remote"),
    ("mayor", "journal", "remote"), ("deputy", "journal", "remote"), ("auditor", "journal", "remote"),
    ("archive_officer", "journal", "remote"), ("archive_officer", "journal", "direct"),
    ("archive_officer", "mode", "remote"), ("archive_officer", "mode", "direct"),
    ("operator", "mode", "remote"), ("operator", "mode", "direct"),
    *((role, action, way) for role in ("archive_officer", "operator") for way in ("remote", "direct")
      for action in ("acknowledge", "incident", "incidents")),
    ("mayor", "incidents", "remote"), ("deputy", "incidents", "remote"),
    ("archive_officer", "clock_confirm", "direct"), ("contractor", "clock_confirm", "direct"),
    ("archive_officer", "search", "remote"), ("archive_officer", "search", "direct"),
    ("contractor", "search", "direct"),
    ("archive_officer", "play", "remote"), ("archive_officer", "play", "direct"), ("contractor", "play", "direct"),
    ("contractor", "maintain", "direct"),
}  # fmt: skip
"""Order 362-р as a list (`docs/commands.md`)."""
_TOLD = (
    "holds",
    "clock_confirm",
    "search",
    "play",
    "maintain",
    "mode",
    "export",
    "acknowledge",
    "incident",
    "incidents",
)
"""Actions whose last reply has their name when they were done; an export that goes to a target says `released`."""
FRESH = b"@nonce-of-this-1"
"""Stands in a seed where a nonce that was never used is wanted."""
INPUTS_A_HOUSE = 20_000
_RECIPIENT = str(Identity(bytes(range(32))).recipient)
_EXPORT: dict[str, Any] = {
    "camera": "gate", "start_us": (NOW_S - 600) * US, "end_us": (NOW_S - 300) * US, "recipient": _RECIPIENT,
    "target": "disk", "reason": "Запит № 7",
}  # fmt: skip

_ORDER = {"order_number": "12-р", "ordered_by": "Мер Іван"}
_ARGS: dict[str, dict[str, Any]] = {
    "status": {}, "export": _EXPORT, "holds": {}, "clock_confirm": {"read_us": NOW_S * US},
    "journal": {"query": {"person": "o"}}, "incidents": {},
    "acknowledge": {"alarm": "alarm-1", "comment": "їду"}, "incident": {"alarm": "alarm-1", "false_alarm": True},
    "hold": _ORDER | {"start_us": (NOW_S - 600) * US, "cameras": ["gate"]},
    "hold_end": _ORDER | {"hold_id": hold_id("the hold that is there")},
    "search": {"camera": "gate", "start_us": (NOW_S - 600) * US, "end_us": NOW_S * US},
    "play": {"camera": "gate", "start_us": (NOW_S - 600) * US, "end_us": (NOW_S - 300) * US},
    "maintain": {"work": "visit_open", "reason": "заміна диска"}, "mode": {"reason": "за програмою"},
}  # fmt: skip


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _claims(person: str, action: str, changed: dict[str, Any] | None = None) -> bytes:
    whole = {
        "iss": person, "aud": AUDIENCE, "iat": NOW_S, "exp": NOW_S + 120, "jti": FRESH.decode(), "action": action,
        "args": _ARGS[action],
    }  # fmt: skip
    return json.dumps(whole | (changed or {}), ensure_ascii=False).encode()


def _head(person: str) -> bytes:
    return json.dumps({"alg": "EdDSA", "kid": person, "typ": "edge-command+jwt"}).encode()


def _signed(key: Ed25519PrivateKey, head: bytes, payload: bytes) -> bytes:
    text = _b64(head) + b"." + _b64(payload)
    return text + b"." + _b64(key.sign(text))


def made(script: Script, nonce: bytes) -> tuple[bytes, Access]:
    """The token that an input stands for, and the way it comes."""
    kind, options = script.number(), script.number()
    access = Access.DIRECT if options & 0x80 else Access.REMOTE
    names = list(PEOPLE)
    person = names[options % len(names)]
    content = script.rest().replace(FRESH, nonce)
    action = "export" if options & 0x40 else "status"
    claims = _claims(person, action).replace(FRESH, nonce)
    match kind % 6:
        case 0:
            return content, access
        case 1:
            return _signed(KEYS[person], _head(person), content), access
        case 2:
            return _signed(KEYS[person], content, claims), access
        case 3:
            return _signed(STRANGER, _head(person), content or claims), access
        case 4:
            return _signed(KEYS[names[kind // 6 % len(names)]], _head(person), claims), access
    edited = bytearray(_signed(KEYS[person], _head(person), claims))
    changes = Script(content)
    while changes:
        edited[changes.number(2) % len(edited)] ^= changes.number() or 1
    return bytes(edited), access


def permitted(token: bytes, access: Access, used: set[str]) -> tuple[str, str] | None:
    """(nonce, action) of a token that may be obeyed, by rules written without the product's code."""
    try:
        head, payload, signature = (
            base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in token.split(b".")
        )
        header, claims = json.loads(head), json.loads(payload)
        KEYS[header["kid"]].public_key().verify(signature, token.rpartition(b".")[0])
        nonce, action, issued, expires = claims["jti"], claims["action"], claims["iat"], claims["exp"]
        good = (
            header["alg"] == "EdDSA"
            and header["typ"] == "edge-command+jwt"
            and claims["iss"] == header["kid"]
            and claims["aud"] == AUDIENCE
            and 0 < expires - issued <= 300
            and issued - 60 <= NOW_S < expires + 60
            and nonce not in used
            and (str(PEOPLE[header["kid"]]), action, str(access)) in MAY
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidSignature):
        return None
    return (nonce, action) if good else None


class _House:
    """A node with everything that a command passes; what it does is seen in `acts`."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "exports").mkdir(parents=True)
        self.acts: list[str] = []
        self.replies: list[Reply] = []
        self._release: Release | None = None
        self._clock = HandClock(NOW_S * US)
        self._journal = Journal(folder / "journal.jsonl", self._clock)
        self._nonces = NonceStore(folder / "nonces.sqlite", self._clock)
        people = {
            PersonId(name): Person(PersonId(name), "Шевченко", name, "", (role,), public_key_of(KEYS[name]))
            for name, role in PEOPLE.items()
        }
        config = Config.model_validate(
            {
                "site": SITE, "node": NODE, "data": str(folder),
                "camera": ({"id": "gate", "url": "rtsp://127.0.0.1/"},),
                "target": ({"kind": "folder", "name": "disk", "path": str(folder)},),
            }
        )  # fmt: skip
        self._door = Door(people, AUDIENCE, self._journal, self._nonces, self._clock)
        documents = Documents(folder / "documents.json", self._clock)
        self._exports = Exports(
            documents, folder / "exports", self._journal, self._clock, self._begun, lambda _: None
        )  # fmt: skip
        self._index = Index(folder / "index.sqlite", self._clock)
        recorded = Interval((NOW_S - 900) * US, (NOW_S - 60) * US)
        path = str(SegmentName(CameraId("gate"), recorded.start_us, 1))
        self._index.add([Segment(CameraId("gate"), path, recorded.start_us, recorded.end_us, 1, 1, "00" * 32)])
        self._holds = Holds(documents)
        self._visits = Visits(documents, self._clock)
        self._register = Register(folder / "incidents.sqlite", self._clock)
        library = Library(folder / "archive", self._index, (), self._clock)
        orders = HoldOrders([CameraId("gate")], self._holds, self._index, library, self._clock)
        clock_orders = ClockOrders(ClockWatch(documents, self._clock, "a boot", lambda _: None), self._clock)
        self._commands = Commands(
            config, self._door, self._exports, orders, clock_orders,
            ArchiveOrders(config, self._index, library, self._clock),
            VisitOrders(self._visits, self._clock),
            IncidentOrders(self._register, self._holds, self._door, lambda _: None, config.zone, self._clock),
            ModeOrders(Modes(config.plan, config.zone, documents, self._clock), config.zone, self._clock),
            self._health, self._audit, self.replies.append, self._clock,
        )  # fmt: skip
        alarm = Entry(
            "alarm-1", "gate", "motion", None, None, "", "", "", "", None, NOW_S * US, NOW_S * US, None, None, 0
        )
        self._register.enter(alarm, "{}", 0)

    def take(self, token: bytes, access: Access) -> list[str]:
        """What the node does on a token's account: actions by their names; leave to do something is doing it."""
        self.acts, self.replies = [], []
        if not self._holds.held.intervals(CameraId("gate")):
            self._holds.add(Hold(hold_id("the hold that is there"), (), 0, None, "1", "", "", "", NOW_S * US))
        before = {hold.hold_id: hold.ended_us for hold in self._holds.all()}
        visits = self._visits.open()
        self._commands.take(token, access, self.replies.append)
        after = {hold.hold_id: hold.ended_us for hold in self._holds.all()}
        if len(after) > len(before):
            self.acts.append("hold")
        elif after != before:
            self.acts.append("hold_end")
        elif self.replies and self.replies[-1].code in _TOLD and self.replies[-1].state is ReplyState.DONE:
            self.acts.append(self.replies[-1].code)
        elif self._visits.open() != visits:
            self.acts.append("a visit that nobody was told of")
        if len(visits) > 3:
            for visit in visits:
                self._visits.end(visit.person_id)
        self._exports.look()
        if self._release is not None:
            result = {"location": "x", "seconds": 1.0, "missing_s": 0.0}
            self._exports.stepped(ExportStep(self._release.id, "done", result=result))
            self._exports.ended(0)
            self._release = None
        return self.acts

    def journalled(self) -> int:
        """How many commands the journal calls accepted; every line of it must be whole."""
        accepted = 0
        for entry in self._journal.read():
            require(not isinstance(entry, BadLine), "a line of the journal that is none")
            assert not isinstance(entry, BadLine)
            accepted += entry.outcome is Outcome.ACCEPTED
        return accepted

    def close(self) -> None:
        self._nonces.close()
        self._index.close()
        self._register.close()

    def _begun(self, release: Release) -> None:
        self._release = release
        self.acts.append("export")

    def _health(self) -> Health:
        self.acts.append("status")
        return Health(
            at_us=NOW_S * US, version="1", uptime_s=5, cpu_percent=3, load_1m=1, memory_used_bytes=1,
            memory_total_bytes=2, disk_total_bytes=3, disk_free_bytes=2, archive_bytes=1, cameras={},
        )  # fmt: skip

    def _audit(self, _query: AuditQuery) -> bytes:
        self.acts.append("journal")
        return b"a page"


class _Watch:
    """Looks at each command and keeps the count; a new house now and then, for a journal grows."""

    def __init__(self, folder: Path) -> None:
        logging.disable(logging.CRITICAL)
        self._folder = folder
        self._inputs = self._admitted = 0
        self._done: list[str] = []
        self._used: set[str] = set()
        self._house = _House(folder / "house")

    def __call__(self, data: bytes) -> None:
        if self._inputs % INPUTS_A_HOUSE == INPUTS_A_HOUSE - 1:
            self._renew()
        self._inputs += 1
        token, access = made(Script(data), b"nonce-%014d" % self._inputs)
        allowed = permitted(token, access, self._used)
        acts = self._house.take(token, access)
        if acts:
            require(allowed is not None, f"an unauthorised action: {acts} by {token[:400]!r}")
            assert allowed is not None
            require(acts == [allowed[1]], f"{acts}, but {allowed[1]} was ordered")
        states = [reply.state for reply in self._house.replies]
        require(
            len(states) <= 1 and all(len(reply.model_dump_json()) < MAX_JSON_BYTES for reply in self._house.replies),
            "a flood",
        )
        if states and states[0] is not ReplyState.REFUSED:
            require(allowed is not None, "a command is let in that may not be obeyed")
            assert allowed is not None
            self._used.add(allowed[0])
            self._done.append(allowed[0])
            for way in Access:
                require(not self._house.take(token, way), "a command is obeyed twice")

    def _renew(self) -> None:
        require(self._house.journalled() == len(self._done), "an action that the journal does not know")
        self._admitted += len(self._done)
        (self._folder / "tally").write_text(
            f"{self._admitted} of the first {self._inputs} inputs were permitted and done"
        )
        self._house.close()
        self._used.clear()
        self._done.clear()
        self._house = _House(self._folder / "house")


def _start(folder: Path) -> Check:
    return _Watch(folder)


def _seeds() -> Sequence[bytes]:
    names = list(PEOPLE)
    made = []
    for number, name in enumerate(names):
        for direct in (0, 0x80):
            for action, bit in (*((action, 0) for action in _ARGS if action != "export"), ("export", 0x40)):
                options = direct | bit | number
                # the numbers of people begin anew in each byte of options
                while options % len(names) != number:
                    options += 1
                made.append(bytes([1, options]) + _claims(name, action))
                made.append(bytes([2, options]) + _head(name))
    officer = names.index("archive_officer")
    options = 0x40
    while options % len(names) != officer:
        options += 1
    others: tuple[dict[str, Any], ...] = (
        {"aud": "melitopol/node-8"}, {"iss": "mayor"}, {"exp": NOW_S + 9999}, {"iat": NOW_S + 100}, {"exp": NOW_S - 61},
        {"jti": "n" * 16}, {"args": _EXPORT | {"start_us": 0}}, {"args": _EXPORT | {"camera": "../x"}}, {"admin": True},
        {"args": {"a": [[[[]]]]}}, {"action": "destroy"},
    )  # fmt: skip
    for changed in others:
        made.append(bytes([1, options]) + _claims("archive_officer", "export", changed))
    made += [bytes([kind, options]) for kind in (3, 4, 5, 10, 16)]
    made.append(bytes([5, options]) + b"\0\x90\1")
    taken = {name: value for name, value in _EXPORT.items() if name != "target"}
    made.append(bytes([1, options | 0x80]) + _claims("archive_officer", "export", {"args": taken}))
    for work in ("visit_close", "keys_rotate"):
        claims = _claims("contractor", "maintain", {"args": {"work": work}})
        made += [bytes([1, number]) + claims for number in range(0x80, 0x80 + 16)]
    whole = _claims("archive_officer", "export", {"jti": "r" * 16})
    made.append(b"\0\0" + _signed(KEYS["archive_officer"], _head("archive_officer"), whole))
    made.append(bytes([2, options]) + b'{"alg":"none","kid":"archive_officer","typ":"edge-command+jwt"}')
    return made


COMMANDS = Target(
    "commands",
    _start,
    _seeds,
    (
        b'"iss": "', b'"aud": "', b'"exp": ', b'"iat": ', b'"jti": "', FRESH, b'"action": "export"',
        b'"action": "status"', b'"args": {', b'"kid": "', b'"alg": "EdDSA"', b'"alg": "none"', b'"alg": "HS256"',
        b'"typ": "edge-command+jwt"', *(f'"{name}"'.encode() for name in PEOPLE), b"NaN", b"1e3", b"\\ud800", b"[" * 40,
        b'"crit": ["b64"]', b'"b64": false',
    ),
    max_bytes=18_000,
    mutate=json_with_prefix(2),
)  # fmt: skip

TARGETS = (COMMANDS,)
