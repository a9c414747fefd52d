"""What the city signs: rosters and orders, as brokers, sticks and desks bring them.

Each check judges by rules of its own, written without the product's code: what is believed must hold by these, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import US
from edge_agent.errors import RefusedError
from edge_agent.model import PersonId
from edge_agent.trust import order, roster
from edge_agent.trust.age import Identity
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Access, Action, Person, Role, Wanted, decide
from edge_agent.trust.roster_store import RosterStore
from fuzz.mutate import json_with_prefix
from fuzz.target import Check, Script, Target, require

NODE, NOW_S = "town/n1", 1_790_000_000
AUTHORITY = Ed25519PrivateKey.from_private_bytes(b"\xa0" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\xee" * 32)
KEYS = {str(role): Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n, role in enumerate(Role, 1)}
_PUBLIC = {name: str(public_key_of(key)) for name, key in KEYS.items()}
_RECIPIENT = str(Identity(bytes(range(32))).recipient)
MAY_ORDER = {
    ("mayor", "hold"), ("mayor", "hold_end"), ("mayor", "release"), ("deputy", "hold"), ("deputy", "hold_end"),
}  # fmt: skip
"""Clauses 4.6–4.9 as a list."""
MAX_ROSTER, MAX_ORDER = 262_144, 8192


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _signed(key: Ed25519PrivateKey, kid: str, typ: str, payload: bytes) -> bytes:
    head = json.dumps({"alg": "EdDSA", "kid": kid, "typ": typ}).encode()
    text = _b64(head) + b"." + _b64(payload)
    return text + b"." + _b64(key.sign(text))


def _made(script: Script, key: Ed25519PrivateKey, kid: str, typ: str) -> bytes:
    """The token that an input stands for: raw, rightly signed, by a stranger, of another type, or changed."""
    kind = script.number() % 5
    content = script.rest()
    match kind:
        case 0:
            return content
        case 1:
            return _signed(key, kid, typ, content)
        case 2:
            return _signed(STRANGER, kid, typ, content)
        case 3:
            return _signed(key, kid, "edge-command+jwt", content)
    token = bytearray(_signed(key, kid, typ, content[8:]))
    steps = Script(content[:8])
    for _ in range(2):
        token[steps.number(3) % len(token)] ^= steps.number() or 1
    return bytes(token)


def _proved(token: bytes, keys: dict[str, Ed25519PrivateKey], typ: str) -> tuple[str, dict[str, Any]]:
    """Who signed, and what; ValueError or InvalidSignature when nobody who counts did."""
    head, payload, signature = (base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in token.split(b"."))
    header = json.loads(head)
    require(header["alg"] == "EdDSA" and header["typ"] == typ, "a token of another kind is believed")
    keys[header["kid"]].public_key().verify(signature, token.rpartition(b".")[0])
    claims = json.loads(payload)
    return str(header["kid"]), claims


def _shown(error: RefusedError) -> None:
    require(0 < len(str(error)) < 2000 and str(error).isprintable(), "words that are unfit to be shown")


class _Rosters:
    """A node's store, to which rosters come in any order: the version only ever rises."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = RosterStore(folder, public_key_of(AUTHORITY))
        self._version = 0
        self._inputs = 0

    def __call__(self, data: bytes) -> None:
        self._inputs += 1
        if self._inputs % 500 == 0:  # a version near the highest would leave no room for the search
            for path in self._folder.iterdir():
                path.unlink()
            self._version = 0
        token = _made(Script(data), AUTHORITY, "authority", "edge-roster+jwt")
        _draft(data)
        try:
            found = roster.verify(token, public_key_of(AUTHORITY))
        except RefusedError as error:
            _shown(error)
            return
        self._judge(token, found)
        try:
            installed = self._store.install(token)
        except RefusedError as error:
            _shown(error)
            require(found.version <= self._version, "a newer roster is refused")
            return
        if installed is not None:
            require(found.version > self._version, "a roster is taken back")
            self._version = found.version
        kept = self._store.load()
        require(kept is not None and kept.version == self._version, "another roster is kept than was installed")

    def _judge(self, token: bytes, found: roster.Roster) -> None:
        try:
            kid, claims = _proved(token, {"authority": AUTHORITY}, "edge-roster+jwt")
        except (ValueError, KeyError, TypeError, InvalidSignature) as error:
            raise AssertionError("a roster is believed that the authority never signed") from error
        require(kid == "authority" and len(token) <= MAX_ROSTER, "a roster by somebody else, or too large")
        require(0 < claims["exp"] - claims["iat"] <= 400 * 86400, "a roster lives for ever")
        people = claims.get("people", [])
        require(
            len({row["public_key"] for row in people}) == len({row["id"] for row in people}) == len(people), "twice"
        )
        require(set(found.people) == {row["id"] for row in people}, "other people than it names")
        for row in people:
            person = found.people[PersonId(row["id"])]
            require(set(map(str, person.roles)) == set(row["roles"]), "other roles than it gives")
            self._narrow(person, row, claims)

    def _narrow(self, person: Person, row: dict[str, Any], claims: dict[str, Any]) -> None:
        """No roster gives anybody more than the table."""
        for action in (Action.EXPORT, Action.HOLD, Action.DECIDE_RELEASE, Action.MAINTAIN):
            for access in Access:
                if decide(person, action, access, claims["iat"] * US, Wanted(NODE, cameras=("gate",))).allowed:
                    alone = Person(person.person_id, "x", "y", "", person.roles, person.public_key)
                    require(decide(alone, action, access, claims["iat"] * US).allowed, "more than the role has")
                    require(row.get("valid_from", 0) <= claims["iat"], "rights before their time")


def _draft(data: bytes) -> None:
    """What the authority edits reads as it was written."""
    try:
        draft = roster.parse_draft(data[1:])
    except RefusedError as error:
        _shown(error)
        return
    require(roster.parse_draft(roster.draft_json(draft)) == draft, "a draft reads differently when written")


def _order(data: bytes) -> None:
    script = Script(data)
    name = list(KEYS)[script.number() % len(KEYS)]
    token = _made(script, KEYS[name], name, "edge-order+jwt")
    people = {
        PersonId(who): Person(PersonId(who), "Шевченко", who, "", (Role(who),), public_key_of(key))
        for who, key in KEYS.items()
    }
    text = token.decode("latin-1")
    try:
        order.read(text)
    except RefusedError as error:
        _shown(error)
    try:
        found = order.verify(text, people, Wanted(NODE), NOW_S * US)
    except RefusedError as error:
        _shown(error)
        return
    try:
        kid, claims = _proved(token, KEYS, "edge-order+jwt")
    except (ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise AssertionError("an order is believed that nobody signed") from error
    require(len(token) <= MAX_ORDER and claims["iss"] == kid, "an order by somebody else, or too large")
    require((kid, claims["kind"]) in MAY_ORDER, "an order by somebody who may not give it")
    require(found.official.person_id == kid, "another official than who signed")
    require(NODE in claims["nodes"] or "town/*" in claims["nodes"], "an order for another node")
    require(claims["iat"] - 60 <= NOW_S < claims["exp"] + 60, "an order out of its time")
    require(0 < claims["exp"] - claims["iat"] <= 31 * 86400, "an order lives for ever")
    if claims["kind"] == "release":
        require(claims["basis"]["kind"] != "own_decision", "a release without a request")
        require(
            claims["start_us"] < claims["end_us"] and claims["recipient"].startswith("age1"), "a release of nothing"
        )


def _start_rosters(folder: Path) -> Check:
    return _Rosters(folder / "node")


def _start_orders(_folder: Path) -> Check:
    return _order


def _roster_seeds() -> Sequence[bytes]:
    person = {
        "id": "a", "surname": "Шевченко", "name": "О", "roles": ["mayor", "auditor"], "public_key": _PUBLIC["mayor"],
        "age_key": _RECIPIENT, "valid_from": 5, "valid_until": NOW_S * 2, "limits": {
            "cameras": ["town/n1/*"], "purposes": ["memo"],
            "hours": [{"days": ["fri", "sat"], "from": "22:00", "to": "06:00"}],
        },
    }  # fmt: skip
    other = {"id": "b", "surname": "Ж", "name": "Б", "roles": ["archive_officer"], "public_key": _PUBLIC["deputy"]}
    court = {"id": "court", "name": "Суд", "kind": "court", "age_key": _RECIPIENT}
    seeds = []
    for version in range(1, 4):
        whole = {"city": "Місто", "people": [person, other], "recipients": [court], "version": version}
        claims = whole | {"iat": NOW_S, "exp": NOW_S + 86400 * 300}
        seeds += [bytes([kind]) + json.dumps(claims, ensure_ascii=False).encode() for kind in (1, 2, 3)]
        seeds.append(b"\4" + bytes(8) + json.dumps(claims).encode())
    for changed in ({"exp": NOW_S + 86400 * 500}, {"people": [person, person]}, {"version": 0}, {"exp": NOW_S}):
        seeds.append(b"\1" + json.dumps(claims | changed).encode())
    draft = {"city": "Місто", "people": [person], "recipients": [court]}
    seeds.append(b"\1" + json.dumps(draft).encode())
    seeds.append(b"\0" + _signed(AUTHORITY, "authority", "edge-roster+jwt", seeds[0][1:]))
    return seeds


def _order_seeds() -> Sequence[bytes]:
    basis = {"kind": "official_request", "number": "7", "date": "2026-09-20"}
    common = {"number": "12-р", "nodes": ["town/*"], "basis": basis, "iat": NOW_S, "exp": NOW_S + 86400}
    kinds: tuple[dict[str, Any], ...] = (
        {"kind": "hold", "start_us": 5, "cameras": ["gate"]},
        {"kind": "hold_end", "hold_id": "h0123456789", "destroy": True},
        {"kind": "release", "start_us": 5, "end_us": 10, "recipient": _RECIPIENT, "nodes": [NODE]},
    )
    seeds = []
    for number, name in enumerate(KEYS):
        for kind in kinds:
            claims = json.dumps(common | kind | {"iss": name, "jti": "n" * 16}, ensure_ascii=False).encode()
            seeds += [bytes([number, way]) + claims for way in (1, 2, 3)]
            seeds.append(bytes([number, 4]) + bytes(8) + claims)
            for changed in ({"exp": NOW_S + 86400 * 40}, {"nodes": ["town/n2"]}, {"iat": NOW_S + 90}, {"iss": "x"}):
                whole = common | kind | {"iss": name, "jti": "n" * 16} | changed
                seeds.append(bytes([number, 1]) + json.dumps(whole).encode())
            seeds.append(bytes([number, 0]) + _signed(KEYS[name], name, "edge-order+jwt", claims))
    return seeds


_WORDS = (b'"alg": "EdDSA"', b'"alg": "none"', b'"typ": "', b'"kid": "', b"\\ud800", b"[" * 40, b"NaN", b"1e3")
ROSTER = Target(
    "roster",
    _start_rosters,
    _roster_seeds,
    (*_WORDS, b'"version": ', b'"people": [', b'"roles": ["mayor"]', b'"limits": {', b'"valid_until": ', b'"hours": ['),
    mutate=json_with_prefix(1),
)
ORDER = Target(
    "order",
    _start_orders,
    _order_seeds,
    (*_WORDS, b'"kind": "release"', b'"nodes": ["town/*"]', b'"destroy": true', b'"hold_id": "h', b'"basis": {'),
    mutate=json_with_prefix(2),
)
TARGETS = (ROSTER, ORDER)
