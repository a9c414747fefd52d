"""The city's model: real ONNX files through OpenCV, each layout, and what it may and may not do to alarms."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from edge_agent.capture.analysis import Analysis, Tampering
from edge_agent.capture.detector import Detector, DetectorError, classes_of, cropped, layout_of, read
from edge_agent.capture.naming import AGAIN_S, EVERY_S, TRIES, Names
from edge_agent.capture.natures import Happening
from edge_agent.capture.regions import Region
from edge_agent.capture.tracks import Instant, Sighting, Track
from edge_agent.capture.watch_job import WATCHER_JOB, DetectorJob, DetectorLayout, WatchedCamera, WatcherJob
from edge_agent.cli import app
from edge_agent.clock import US
from edge_agent.config import load
from edge_agent.demo.scene import StreetScene, Weather
from edge_agent.journal_notes import configuration_hash
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Box, CameraId, Kind
from edge_agent.watch_plan import detecting, watched

SIDE = 64
KINDS = ((Kind.PERSON, (0,)), (Kind.VEHICLE, (1,)), (Kind.ANIMAL, (2,)))
MIDDLE = Box(0.4, 0.4, 0.2, 0.2)
FPS, SIZE = 5, (640, 360)


def rows(layout: DetectorLayout, number: int, score: float = 0.9) -> NDArray[np.float32]:
    """What a model of 3 classes says that sees one thing over all of its picture."""
    scores = [score if n == number else 0.01 for n in range(3)]
    if layout == "ssd":
        found = [[0, number, score, 0, 0, 1, 1], [0, 1, 0.02, 0, 0, 0.1, 0.1]]
        return np.array([[found]], np.float32)
    if layout == "boxes":
        return np.array([[[0, 0, SIDE, SIDE, score, number], *[[0] * 6] * 7]], np.float32)
    centre = [SIDE / 2, SIDE / 2, SIDE, SIDE]
    if layout == "yolov5":
        return np.array([[[*centre, 1.0, *scores], *[[0] * 8] * 20]], np.float32)
    return np.array([[[*centre, *scores], *[[0] * 7] * 20]], np.float32).transpose(0, 2, 1)


def model(path: Path, says: NDArray[np.float32], outputs: int = 1) -> Path:
    """An ONNX file that says so of any picture; that of a black one it says less surely."""
    weight = numpy_helper.from_array(np.full((1, 3, SIDE, SIDE), 1 / (3 * SIDE * SIDE), np.float32), "weight")
    flat = numpy_helper.from_array(says.reshape(1, -1, 1, 1).copy(), "says")
    shape = numpy_helper.from_array(np.array(says.shape, np.int64), "shape")
    nodes = [
        helper.make_node("Conv", ["picture", "weight"], ["light"]),
        helper.make_node("Sigmoid", ["light"], ["some"]),
        helper.make_node("Ceil", ["some"], ["one"]),
        helper.make_node("Mul", ["one", "says"], ["flat"]),
    ]
    names = [f"found{n}" for n in range(outputs)]
    nodes += [helper.make_node("Reshape", ["flat", "shape"], [name]) for name in names]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(says.shape)) for name in names],
        [weight, flat, shape],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, str(path))
    return path


def job(path: Path, **more: object) -> DetectorJob:
    return DetectorJob(str(path), KINDS, (SIDE, SIDE), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "ssd", "boxes"])
def test_a_thing_is_named_by_a_model_of_each_layout(tmp_path: Path, layout: DetectorLayout, number: int) -> None:
    path = model(tmp_path / "city.onnx", rows(layout, number))
    detector = Detector(job(path, layout="boxes" if layout == "boxes" else None))
    assert detector.layout == layout
    assert detector.kind(np.full((360, 640, 3), 90, np.uint8), MIDDLE) is KINDS[number][0]


def test_what_the_model_is_unsure_of_or_sees_elsewhere_has_no_name(tmp_path: Path) -> None:
    picture = np.full((360, 640, 3), 90, np.uint8)
    assert Detector(job(model(tmp_path / "a.onnx", rows("yolov8", 0, 0.3)))).kind(picture, MIDDLE) is None
    beside = rows("ssd", 0)
    beside[0, 0, 0, 3:] = (0, 0, 0.2, 0.2)
    assert Detector(job(model(tmp_path / "b.onnx", beside))).kind(picture, MIDDLE) is None
    assert Detector(job(model(tmp_path / "c.onnx", rows("ssd", 77)))).kind(picture, MIDDLE) is None


def _missing(folder: Path) -> DetectorJob:
    return job(folder / "none.onnx")


def _garbage(folder: Path) -> DetectorJob:
    (folder / "bad.onnx").write_bytes(b"\x08\x07garbage" * 50)
    return job(folder / "bad.onnx")


def _two_outputs(folder: Path) -> DetectorJob:
    return job(model(folder / "two.onnx", rows("yolov8", 0), outputs=2))


def _classifier(folder: Path) -> DetectorJob:
    return job(model(folder / "classes.onnx", np.ones((1, 10), np.float32)))


def _two_meanings(folder: Path) -> DetectorJob:
    return job(model(folder / "six.onnx", rows("boxes", 0)))


def _contradicted(folder: Path) -> DetectorJob:
    return job(model(folder / "ssd.onnx", rows("ssd", 0)), layout="yolov5")


def _unknown_class(folder: Path) -> DetectorJob:
    return DetectorJob(str(model(folder / "three.onnx", rows("yolov8", 0))), ((Kind.PERSON, (7,)),), (SIDE, SIDE))


def _other_size(folder: Path) -> DetectorJob:
    return DetectorJob(str(model(folder / "size.onnx", rows("yolov8", 0))), KINDS, (SIDE * 2, SIDE))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "no such file"),
        (_garbage, "no ONNX model that OpenCV can load"),
        (_two_outputs, "2 outputs, one is wanted"),
        (_classifier, "its output of 1 x 10 is of no kind that is known"),
        (_two_meanings, 'two meanings: set `layout` to "boxes" or "yolov5"'),
        (_contradicted, "is not one of yolov5"),
        (_unknown_class, "it knows classes 0 … 2, not 7"),
        (_other_size, ""),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_plain_words(
    tmp_path: Path, make: Callable[[Path], DetectorJob], words: str
) -> None:
    with pytest.raises(DetectorError) as caught:
        Detector(make(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "layout", "classes"),
    [
        ((1, 84, 8400), "yolov8", 80),
        ((1, 25200, 85), "yolov5", 80),
        ((1, 1, 100, 7), "ssd", None),
    ],
)
def test_what_exports_usually_give_is_told_by_its_shape(
    shape: tuple[int, ...], layout: DetectorLayout, classes: int | None
) -> None:
    assert layout_of(shape) == layout
    assert classes_of(shape, layout) == classes


@given(
    arrays.arrays(
        np.float32,
        st.sampled_from([(1, 7, 12), (1, 12, 9), (1, 1, 5, 7)]),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_whatever_numbers_a_model_gives_are_read_without_harm(output: NDArray[np.float32]) -> None:
    with np.errstate(all="ignore"):
        for found in read(output, layout_of(output.shape), (SIDE, SIDE)):
            assert np.isfinite(found.score)


unit = st.floats(0, 1)


@given(unit, unit, unit, unit)
def test_a_crop_is_within_the_picture_and_holds_the_thing(x: float, y: float, width: float, height: float) -> None:
    box = Box(x, y, min(width, 1 - x), min(height, 1 - y))
    crop, place = cropped(np.zeros((90, 160, 3), np.uint8), box)
    assert min(crop.shape[:2]) >= 2
    assert 0 <= place.x <= place.x + place.width <= 1 + 1e-9
    assert place.x - 0.01 <= x <= x + box.width <= place.x + place.width + 0.01


# ---- what becomes of alarms


def walked(detector: Detector | None, only: tuple[Kind, ...] = (), *, covered: bool = False) -> list[Alarm]:
    """Somebody walks through the picture, from the third second on."""
    natures = (AlarmNature.MOTION, AlarmNature.ENTERED)
    zone = Region("yard", ((0.2, 0), (1, 0), (1, 1), (0.2, 1)), natures, only=only)
    camera = WatchedCamera(CameraId("gate"), "rtsp://x/y", zones=(zone,), whole=())
    numbers = itertools.count()
    analysis = Analysis(
        camera,
        ZoneInfo("UTC"),
        "en",
        lambda: f"id-{next(numbers)}",
        Tampering((AlarmNature.COVERED,)),
        detector,
    )
    scene = StreetScene(SIZE, FPS, 1, Weather(cloud=False))
    alarms: list[Alarm] = []
    for number in range(20 * FPS):
        picture = np.full((*SIZE[::-1], 3), 20, np.uint8) if covered and number > 13 * FPS else scene.frame(number)
        luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
        at_s = number / FPS
        alarms += analysis.see(luma, picture.copy, Instant(round(at_s * US), at_s))
    return [*alarms, *analysis.close(Instant(20 * US, 20.0))]


def started(alarms: list[Alarm]) -> list[AlarmNature]:
    return [alarm.nature for alarm in alarms if alarm.phase is AlarmPhase.START]


def test_the_detector_names_the_thing_and_delays_no_alarm(tmp_path: Path) -> None:
    plain = walked(None)
    named = walked(Detector(job(model(tmp_path / "city.onnx", rows("yolov8", 2)))))
    assert [(a.nature, a.phase, a.at_us) for a in named] == [(a.nature, a.phase, a.at_us) for a in plain]
    last = [alarm for alarm in named if alarm.nature is AlarmNature.MOTION][-1]
    assert last.phase is AlarmPhase.END
    assert last.kind is Kind.ANIMAL


def test_a_zone_that_wants_people_only_tells_of_people_and_of_nothing_else(tmp_path: Path) -> None:
    person = Detector(job(model(tmp_path / "person.onnx", rows("yolov8", 0))))
    animal = Detector(job(model(tmp_path / "animal.onnx", rows("yolov8", 2))))
    alarms = walked(person, (Kind.PERSON,))
    assert set(started(alarms)) == {AlarmNature.MOTION, AlarmNature.ENTERED}
    assert {alarm.kind for alarm in alarms if alarm.nature is AlarmNature.MOTION} == {Kind.PERSON}
    assert walked(animal, (Kind.PERSON,)) == []


def test_meddling_is_told_whatever_a_zone_wants(tmp_path: Path) -> None:
    animal = Detector(job(model(tmp_path / "animal.onnx", rows("yolov8", 2))))
    assert started(walked(animal, (Kind.PERSON,), covered=True)) == [AlarmNature.COVERED]


def test_a_detector_that_fails_holds_no_alarm_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = Detector(job(model(tmp_path / "city.onnx", rows("yolov8", 2))))
    detector.layout = "ssd"  # as if it answered otherwise than when it was tried
    with caplog.at_level(logging.ERROR):
        assert AlarmNature.MOTION in started(walked(detector, (Kind.PERSON,)))
    assert len([record for record in caplog.records if "is not one of ssd" in record.message]) == 1


def thing(number: int, width: float = 0.1) -> Track:
    return Track(number, Sighting(0.0, Box(0.4, 0.4, width, 0.2)), 16 / 9)


def test_the_detector_is_asked_seldom_and_for_the_largest_unknown_thing_first() -> None:
    names, small, large = Names({}), thing(1), thing(2, 0.3)
    moves = [Happening(AlarmNature.MOTION, None, (small, large))]

    def asked(at_s: float) -> Track | None:
        names.gate(at_s, moves, [small, large], [])
        return names.wanted(at_s)

    assert asked(0) is large
    names.found(2, Kind.PERSON, 0, 0.5)
    assert asked(4.9) is None, "half a second of work allows for five of rest"
    for tries in range(TRIES):
        assert asked(5.0 + EVERY_S * tries) is small
        names.found(1, None, 5.0 + EVERY_S * tries, 0.01)
    assert asked(5.0 + EVERY_S * TRIES) is None
    assert asked(5.0 + EVERY_S * TRIES + AGAIN_S) is small


def test_who_entered_before_their_kind_was_known_is_told_of_as_soon_as_it_is() -> None:
    names, person = Names({"yard": frozenset({Kind.PERSON})}), thing(1)
    entered = Happening(AlarmNature.ENTERED, "yard", (person,))
    assert names.gate(0, [entered], [person], [person]) == []
    assert names.wanted(0) is person
    names.found(1, Kind.PERSON, 0, 0.01)
    assert names.gate(0.2, [], [person], [person]) == [entered]
    assert names.gate(0.4, [], [person], [person]) == []
    assert names.gate(0.6, [entered], [person], [person]) == [entered]


def test_a_watcher_is_told_of_the_model_as_it_was_configured(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(only="person"))
    config = load(path)
    assert config.detector is not None
    sent = WatcherJob((watched(config.camera[0]),), detector=detecting(config.detector))
    assert WATCHER_JOB.parse(WATCHER_JOB.encode(sent)) == sent
    assert sent.detector is not None
    assert sent.detector.model == str(tmp_path / "city.onnx")


# ---- configuration

CONFIG = """
site = "city"
node = "n1"
data = "data"
[detector]
model = "city.onnx"
size = [64, 64]
person = [0]
vehicle = [1]
animal = []
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/s"
[[camera.watch.zone]]
id = "yard"
polygon = [[0, 0], [1, 0], [1, 1]]
only = ["{only}"]
"""


def test_the_configuration_check_tries_the_model(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(only="person"))
    missing = CliRunner().invoke(app, ["config", "check", str(path)])
    assert isinstance(missing.exception, DetectorError)
    assert "no such file" in str(missing.exception)
    model(tmp_path / "city.onnx", rows("yolov8", 0))
    checked = CliRunner().invoke(app, ["config", "check", str(path)])
    assert checked.exit_code == 0
    assert "the detector is read as yolov8 and takes " in checked.output


def test_a_zone_cannot_want_what_nothing_tells(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(only="animal"))
    with pytest.raises(Exception, match=r'zone yard\.only: found "animal"'):
        load(path)


def test_another_model_is_another_configuration_to_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(only="person"))
    model(tmp_path / "city.onnx", rows("yolov8", 0))
    before = configuration_hash(load(path))
    assert configuration_hash(load(path)) == before
    model(tmp_path / "city.onnx", rows("yolov8", 1))
    assert configuration_hash(load(path)) != before
