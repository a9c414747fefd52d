"""What the archive's orders answer: bounded, honest about what is missing, leave only where it can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US
from edge_agent.config import Config
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import CameraId, PersonId, Segment
from edge_agent.trust.command import MAX_SEARCH_ALL_S, MAX_SEARCH_S, ExportArgs, PlayArgs, SearchArgs, SignedCommand
from edge_agent.trust.door import Admitted
from edge_agent.trust.policy import Access, Role
from edge_agent.uplink.archive_orders import MAX_PIECES, MAX_RECORDINGS, ArchiveOrders
from edge_agent.uplink.payloads import MAX_JSON_BYTES, Reply, ReplyState, encode
from tests.simulators.clock import HandClock
from tests.trust.support import somebody

CAMERA, MINUTE = CameraId("gate"), 60 * US
MANY = 500


class Node:
    def __init__(self, folder: Path, *, reads: bool = True) -> None:
        self.clock = HandClock()
        self.start_us = self.clock.utc_us() - 2 * MANY * MINUTE
        self.index = Index(folder / "index.sqlite", self.clock)
        self.index.add(self._segment(number) for number in range(MANY))
        (folder / "archive").mkdir()
        city = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
        config = Config.model_validate(
            {
                "site": "town", "node": "n1", "data": str(folder), "camera": ({"id": "yard", "url": "rtsp://h/x"},),
                "archive": {"node_reads": reads, "recipients": (city,)},
            }
        )  # fmt: skip
        library = Library(folder / "archive", self.index, (), self.clock)
        self.orders = ArchiveOrders(config, self.index, library, self.clock)

    def _segment(self, number: int) -> Segment:
        """Every other minute."""
        start_us = self.start_us + 2 * number * MINUTE
        path = str(SegmentName(CAMERA, start_us, number))
        return Segment(CAMERA, path, start_us, start_us + MINUTE, 1000, 60, "ab" * 32)

    def admitted(self, args: PlayArgs | ExportArgs, access: Access = Access.DIRECT) -> Admitted:
        person = somebody("officer", Role.ARCHIVE_OFFICER, Ed25519PrivateKey.generate())
        command = SignedCommand(PersonId("officer"), "town/n1", 0, 0, "n" * 16, args.action, args)
        return Admitted(command, person, access)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.index.close()


def test_the_sums_are_of_all_cameras_those_without_recordings_included(node: Node) -> None:
    holdings = node.orders.search(SearchArgs()).result["holdings"]
    assert holdings["gate"] == {
        "recordings": MANY, "size_bytes": MANY * 1000, "first_us": node.start_us,
        "last_us": node.start_us + (2 * MANY - 1) * MINUTE,
    }  # fmt: skip
    assert holdings["yard"] == {"recordings": 0, "size_bytes": 0, "first_us": None, "last_us": None}
    assert set(node.orders.search(SearchArgs(camera="yard")).result["holdings"]) == {"yard"}


def test_a_long_answer_is_cut_says_by_how_much_and_fits_a_message(node: Node) -> None:
    end_us = node.start_us + (2 * MANY - 1) * MINUTE
    done = node.orders.search(SearchArgs(camera="gate", start_us=node.start_us, end_us=end_us))
    assert len(done.result["recordings"]) == MAX_RECORDINGS
    assert done.result["unlisted"] == MANY - MAX_RECORDINGS
    gate = done.result["cameras"]["gate"]
    assert gate["recorded_s"] == MANY * 60
    assert len(gate["missing"]) == MAX_PIECES
    assert len(gate["missing"]) + gate["unlisted"] >= MANY - 1
    reply = Reply(
        at_us=0, request_id="n" * 16, state=ReplyState.DONE, code="search", words=done.said, result=done.result
    )
    assert len(encode(reply)) < MAX_JSON_BYTES


def test_what_lies_ahead_is_neither_there_nor_missing(node: Node) -> None:
    now_us = node.clock.utc_us()
    done = node.orders.search(SearchArgs(start_us=now_us + MINUTE, end_us=now_us + 2 * MINUTE))
    assert {camera: (one["recorded_s"], one["missing"]) for camera, one in done.result["cameras"].items()} == {
        "gate": (0, []),
        "yard": (0, []),
    }


@pytest.mark.parametrize(
    "args",
    [
        {"start_us": 5},
        {"start_us": 5, "end_us": 5},
        {"start_us": 0, "end_us": MAX_SEARCH_ALL_S * US + 1},
        {"camera": "gate", "start_us": 0, "end_us": MAX_SEARCH_S * US + 1},
        {"camera": "Gate"},
    ],
    ids=["half an interval", "empty", "all cameras too long", "one camera too long", "no name"],
)
def test_questions_without_bounds_are_not_asked(args: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SearchArgs.model_validate(args)


def test_leave_is_given_at_the_node_for_what_is_there(node: Node) -> None:
    args = PlayArgs(camera="gate", start_us=node.start_us, end_us=node.start_us + MINUTE)
    done = node.orders.leave(node.admitted(args), args)
    assert (done.leave, done.result) == (True, {"who": "Шевченко Оксана Іванівна"})
    with pytest.raises(UsageError, match="at the node"):
        node.orders.leave(node.admitted(args, Access.REMOTE), args)


@pytest.mark.parametrize(
    ("camera", "start_min", "length_min", "error"),
    [
        ("nowhere", 0, 1, NotFoundError),
        ("yard", 0, 1, NotFoundError),
        ("gate", 1.2, 0.5, NotFoundError),
        ("gate", 2 * MANY + 5, 1, UsageError),
        ("gate", 2 * MANY - 1, 10, UsageError),
    ],
    ids=["no camera", "no recordings", "a gap", "ahead", "ends ahead"],
)
def test_no_leave_for_what_can_t_be_had(
    node: Node, camera: str, start_min: float, length_min: float, error: type[Exception]
) -> None:
    start_us = node.start_us + round(start_min * MINUTE)
    args = ExportArgs(camera=camera, start_us=start_us, end_us=start_us + round(length_min * MINUTE))
    with pytest.raises(error):
        node.orders.leave(node.admitted(args), args)


def test_a_node_that_only_writes_gives_no_leave_to_read(tmp_path: Path) -> None:
    node = Node(tmp_path, reads=False)
    args = ExportArgs(camera="gate", start_us=node.start_us, end_us=node.start_us + MINUTE)
    with pytest.raises(UsageError, match="node_reads = false"):
        node.orders.leave(node.admitted(args), args)
    node.index.close()
