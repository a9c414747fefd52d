"""The scenes: what each is called, how it is made, and what happens in it.

`scene(name, seed)` gives one; another seed gives other streets, people, ways, moments and strengths.  Seeds below
100 are for choosing constants with; what is published is measured with others.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.scenes import effects
from bench.scenes.labels import Kind, Label, Line, Zone, crowds, line_crossings, movements, passages, stays
from bench.scenes.stage import Effect, Player, Prop, Stage, player
from edge_agent.demo import scenery
from edge_agent.demo.scene import ActorKind, Weather
from edge_agent.demo.scenery import WIDTH, Picture

NEAR_Y, FAR_Y, LANE_RIGHT_Y, LANE_LEFT_Y = 656.0, 434.0, 584.0, 500.0
FIRST_S = 6.0
"""Nobody comes earlier: a watcher has to learn."""
KNOWN_S = 20.0
"""The camera itself is not spoilt earlier: a watcher has to know its view."""
STILLNESS_KNOWN_S = 190.0
"""Nor is the picture frozen earlier: how still a live one can be takes longer to learn."""
CALM = Weather(cloud=False)
NIGHT = Weather(night=True, noise=3, cloud=False)
RUNS_MPS = 3.5
"""Who is faster than this runs."""
LOITER_S = 15.0
CROWD_PART = 0.25
"""Boxes over so much of a zone are a crowd."""
REST_S = 10.0
"""A thing left is one after it lay still for so long."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the camera is configured to tell, beside movement."""

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    tells: frozenset[Kind] = frozenset()
    """What is expected of it beside movement (and what spoils the camera)."""
    min_area: float = 0.002


@dataclass(frozen=True, slots=True)
class Scene:
    """One camera's pictures, and what happens in them."""

    name: str
    seconds: float
    stage: Stage
    rules: Rules
    labels: tuple[Label, ...]

    @property
    def empty(self) -> bool:
        return not self.labels


@dataclass(frozen=True, slots=True)
class Draft:
    """What a recipe says of its scene; the labels of movement follow from the players."""

    seconds: float = 30.0
    weather: Weather = CALM
    players: tuple[Player, ...] = ()
    props: tuple[Prop, ...] = ()
    light: tuple[Effect, ...] = ()
    lens: tuple[Effect, ...] = ()
    rules: Rules = Rules()
    frozen_s: float = math.inf
    labels: tuple[Label, ...] = ()
    """Those that do not follow from where players are."""


class Dice:
    """The chances of one scene."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self._rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
        self.street = int(self._rng.integers(1 << 30))

    def between(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def coin(self) -> bool:
        return bool(self._rng.integers(2))

    def look(self) -> int:
        return int(self._rng.integers(1000))

    def crosses(
        self,
        begins_s: float,
        y: float | None = None,
        *,
        speed: float | None = None,
        rightwards: bool | None = None,
        kind: ActorKind = ActorKind.PERSON,
        end_y: float | None = None,
        scale: float = 1.0,
        contrast: float = 1.0,
    ) -> Player:
        """Somebody comes in at one side and leaves at the other; metres a second."""
        y = y if y is not None else self.between(640, 672)
        last_y = end_y if end_y is not None else y
        car = kind is ActorKind.CAR
        speed = speed or (self.between(7, 11) if car else self.between(1.3, 1.7))
        margin = 200 if car else 60
        left_to_right = self.coin() if rightwards is None else rightwards
        xs = (-margin, WIDTH + margin) if left_to_right else (WIDTH + margin, -margin)
        lasts_s = abs(xs[1] - xs[0]) / scenery.pixels_per_metre((y + last_y) / 2) / speed / scale
        way = [(begins_s, float(xs[0]), y), (begins_s + lasts_s, float(xs[1]), last_y)]
        return player(way, kind=kind, look=self.look(), scale=scale, contrast=contrast)

    def car(self, begins_s: float) -> Player:
        """Right-hand traffic: the near lane goes to the right."""
        right = self.coin()
        return self.crosses(begins_s, LANE_RIGHT_Y if right else LANE_LEFT_Y, rightwards=right, kind=ActorKind.CAR)

    def strolls(self, *places: tuple[float, float], begins_s: float, speed: float = 1.5, rests_s: float = 0) -> Player:
        """From place to place, with a rest at each in between."""
        way = [(begins_s, *places[0])]
        for number, place in enumerate(places[1:], start=1):
            last = way[-1]
            metre = scenery.pixels_per_metre((last[2] + place[1]) / 2)
            way.append((last[0] + math.dist(last[1:], place) / metre / speed, *place))
            if rests_s and number < len(places) - 1:
                way.append((way[-1][0] + rests_s, *place))
        return player(way, look=self.look())


Recipe = Callable[[Dice], Draft]
ENTRANCE = Zone("entrance", ((0.36, 0.84), (0.66, 0.84), (0.66, 0.99), (0.36, 0.99)))
"""A part of the near pavement, …"""
SQUARE = Zone("square", ((0.34, 0.68), (0.72, 0.68), (0.72, 0.99), (0.34, 0.99)))
PAVEMENT = Zone("pavement", ((0.2, 0.84), (0.8, 0.84), (0.8, 0.99), (0.2, 0.99)))
"""… and more of it."""
KERB = Line("kerb", (0.5, 0.99), (0.5, 0.55))


def _walker(weather: Weather = CALM) -> Recipe:
    """Somebody crosses in this weather."""

    def recipe(dice: Dice) -> Draft:
        return Draft(weather=weather, players=(dice.crosses(FIRST_S + dice.between(0, 4)),))

    return recipe


def _plain(weather: Weather, seconds: float = 30.0) -> Recipe:
    return lambda _dice: Draft(seconds, weather)


# ---- nothing happens


def _snow(dice: Dice) -> Draft:
    return Draft(lens=(effects.Snow(dice.street, int(dice.between(180, 320)), dice.between(-0.2, 0.2)),))


def _fog(dice: Dice) -> Draft:
    return Draft(light=(effects.Fog(dice.street, dice.between(0.4, 0.6), dice.between(0.02, 0.1)),))


def _headlights(dice: Dice) -> Draft:
    begins = np.cumsum([FIRST_S, *(dice.between(4, 7) for _ in range(4))])
    sweeps = tuple((float(at_s), dice.between(2, 5), dice.coin()) for at_s in begins)
    return Draft(seconds=40, weather=NIGHT, light=(effects.Headlights(sweeps),))


def _cloud_shadows(dice: Dice) -> Draft:
    comes_s, takes_s = FIRST_S + dice.between(0, 3), dice.between(3, 9)
    shadow = effects.CloudShadow(comes_s, comes_s + takes_s + dice.between(3, 6), takes_s, dice.between(0.2, 0.45))
    return Draft(seconds=40, light=(shadow,))


def _lamp(over_s: tuple[float, float], weather: Weather) -> Recipe:
    def recipe(dice: Dice) -> Draft:
        lamp = effects.Lamp(
            FIRST_S + dice.between(1, 4), dice.between(*over_s), dice.between(0.3, 1.4), strength=dice.between(40, 80)
        )
        return Draft(seconds=40, weather=weather, light=(lamp,))

    return recipe


def _exposure(dice: Dice) -> Draft:
    up, over_s = dice.between(1.25, 1.5), dice.between(0.2, 1)
    first_s = FIRST_S + dice.between(1, 3)
    steps = ((first_s, over_s, up), (first_s + 8, over_s, 1 / up), (first_s + 16, over_s, 1 / dice.between(1.3, 1.6)))
    return Draft(seconds=36, lens=(effects.Gain(steps),))


def _infrared(dice: Dice) -> Draft:
    return Draft(seconds=40, light=(effects.InfraRed(dice.between(12, 16), seed=dice.seed),))


def _flicker(dice: Dice) -> Draft:
    beat = effects.Flicker(dice.between(0.03, 0.08), dice.between(0.2, 1.5), dice.between(0.5, 2.5))
    return Draft(weather=Weather(noise=3, cloud=False), light=(beat,))


def _insects(dice: Dice) -> Draft:
    return Draft(seconds=40, weather=NIGHT, lens=(effects.Insects(dice.street, 40),))


def _web(dice: Dice) -> Draft:
    web = effects.Web(dice.street, dice.between(0.01, 0.02), int(dice.between(60, 110)))
    return Draft(weather=Weather(night=True, noise=3, wind=0.4), lens=(web,))


def _dawn(dice: Dice) -> Draft:
    gain = effects.Gain(((0, 0, 0.4), (FIRST_S, 30, dice.between(1.8, 2.4))))
    return Draft(seconds=40, light=(gain,))


def _passes_by_the_zone(dice: Dice) -> Draft:
    """Somebody walks on the far pavement, a car drives: neither is in the zone."""
    return Draft(
        seconds=36,
        players=(dice.crosses(FIRST_S, FAR_Y), dice.crosses(20, LANE_LEFT_Y, rightwards=False, kind=ActorKind.CAR)),
        rules=Rules(zones=(ENTRANCE,)),
    )


# ---- somebody comes


def _small(dice: Dice) -> Draft:
    one = dice.crosses(FIRST_S, FAR_Y, speed=1.5, scale=0.65)
    return Draft(seconds=one.ends_s + 5, players=(one,), rules=Rules(min_area=0.0005))


def _slow(dice: Dice) -> Draft:
    one = dice.crosses(FIRST_S, speed=0.45)
    return Draft(seconds=min(60.0, one.ends_s + 5), players=(one,))


def _fast(dice: Dice) -> Draft:
    """A cyclist's pace."""
    return Draft(seconds=20, players=(dice.crosses(FIRST_S + 2, speed=dice.between(5.5, 7)),))


def _grey(dice: Dice) -> Draft:
    return Draft(players=(dice.crosses(FIRST_S, contrast=dice.between(0.22, 0.3)),))


def _partly_hidden(dice: Dice) -> Draft:
    """A wall up to the breast runs along half of the way."""
    wall = Prop(dice.between(480, 800), 700, 7, 1.7, (96, 110, 124), before_players=True)
    return Draft(players=(dice.crosses(FIRST_S, 650),), props=(wall,))


def _two_cross(dice: Dice) -> Draft:
    return Draft(
        players=(
            dice.crosses(FIRST_S, 650, rightwards=True),
            dice.crosses(FIRST_S + dice.between(0, 1), 664, rightwards=False),
        )
    )


def _towards(dice: Dice) -> Draft:
    x = dice.between(350, 900)
    return Draft(players=(dice.strolls((x, 410), (x + dice.between(-60, 60), 790), begins_s=FIRST_S, speed=0.9),))


def _away(dice: Dice) -> Draft:
    x = dice.between(350, 900)
    return Draft(players=(dice.strolls((x, 800), (x + dice.between(-60, 60), 420), begins_s=FIRST_S, speed=0.9),))


def _jaywalker(dice: Dice) -> Draft:
    right = dice.coin()
    ends = ((-60.0, 664.0), (WIDTH + 60.0, 440.0)) if right else ((WIDTH + 60.0, 440.0), (-60.0, 664.0))
    return Draft(seconds=34, players=(dice.strolls(*ends, begins_s=FIRST_S),))


def _vehicle(weather: Weather) -> Recipe:
    return lambda dice: Draft(
        seconds=26, weather=weather, players=(dice.car(FIRST_S), dice.car(FIRST_S + dice.between(8, 10)))
    )


def _walker_and(effect: Callable[[Dice], tuple[tuple[Effect, ...], tuple[Effect, ...]]], weather: Weather) -> Recipe:
    """Somebody crosses while (light effects, effects on the glass) are at work."""

    def recipe(dice: Dice) -> Draft:
        light, lens = effect(dice)
        players = (dice.crosses(FIRST_S + 4 + dice.between(0, 4)),)
        return Draft(seconds=34, weather=weather, players=players, light=light, lens=lens)

    return recipe


# ---- what rules ask for


def _enters(dice: Dice) -> Draft:
    """In from a side, up to the entrance, through the door."""
    right = dice.coin()
    start = (-60.0 if right else WIDTH + 60.0, 660.0)
    one = dice.strolls(start, (dice.between(600, 700), 660), begins_s=FIRST_S)
    gone = player([*one.way, (one.ends_s + 12, *one.way[-1][1:])], look=one.look)
    return Draft(
        seconds=gone.ends_s + 6,
        players=(gone,),
        rules=Rules(zones=(ENTRANCE,), tells=frozenset({Kind.ENTERED})),
    )


def _leaves(dice: Dice) -> Draft:
    """Stands at the entrance from the beginning, and goes."""
    x = dice.between(600, 700)
    end = (-60.0 if dice.coin() else WIDTH + 60.0, 660.0)
    speed = dice.between(1.3, 1.7) * scenery.pixels_per_metre(660)
    goes_s = 10 + dice.between(0, 3)
    way = [(-1.0, x, 660.0), (goes_s, x, 660.0), (goes_s + abs(end[0] - x) / speed, *end)]
    return Draft(
        seconds=way[-1][0] + 8,
        players=(player(way, look=dice.look()),),
        rules=Rules(zones=(ENTRANCE,), tells=frozenset({Kind.LEFT})),
    )


def _line(rightwards: bool) -> Recipe:
    return lambda dice: Draft(
        players=(dice.crosses(FIRST_S, rightwards=rightwards),),
        rules=Rules(lines=(KERB,), tells=frozenset({Kind.LINE})),
    )


def _meet_on_the_line(*others: tuple[float, float, float, bool]) -> Recipe:
    """Several who are on the line at about one time, each (metres behind the first, pixels nearer, m/s, rightwards)."""

    def recipe(dice: Dice) -> Draft:
        at_s, y, turned = FIRST_S + 12, dice.between(646, 654), dice.coin()
        players = []
        for behind_m, nearer, speed, rightwards in others:
            late_s = (behind_m + dice.between(-0.1, 0.1)) / speed
            one = dice.crosses(0, y + nearer, speed=speed, rightwards=rightwards != turned)
            begins_s = at_s + late_s - one.ends_s / 2  # the line is in the middle of the way
            players.append(player([(begins_s + when, x, row) for when, x, row in one.way], look=one.look))
        return Draft(34, players=tuple(players), rules=Rules(lines=(KERB,), tells=frozenset({Kind.LINE})))

    return recipe


def _loiters(dice: Dice) -> Draft:
    """To and fro before the entrance for half a minute."""
    places = [(dice.between(520, 600), 655.0) if n % 2 else (dice.between(680, 780), 668.0) for n in range(9)]
    one = dice.strolls((-60.0, 660.0), *places, (WIDTH + 60.0, 660.0), begins_s=FIRST_S, speed=0.9, rests_s=1.5)
    return Draft(
        seconds=min(60.0, one.ends_s + 3),
        players=(one,),
        rules=Rules(zones=(ENTRANCE,), tells=frozenset({Kind.LOITERING})),
    )


def _bag(dice: Dice, x: float, from_s: float = -math.inf, until_s: float = math.inf) -> Prop:
    dark = dice.coin()
    return Prop(x, 668, 0.6, 0.5, (44, 40, 60) if dark else (60, 70, 170), from_s, until_s)


def _object_left(dice: Dice) -> Draft:
    """Somebody stops, puts a bag down beside them and goes on."""
    x = dice.between(480, 800)
    one = dice.strolls((-60.0, 655.0), (x, 655.0), (WIDTH + 60.0, 655.0), begins_s=FIRST_S, speed=1.7, rests_s=2)
    left_s = one.way[1][0] + 1
    label = Label(Kind.OBJECT_LEFT, PAVEMENT.name, left_s + REST_S, 50)
    rules = Rules(zones=(PAVEMENT,), tells=frozenset({Kind.OBJECT_LEFT}))
    return Draft(50, players=(one,), props=(_bag(dice, x, from_s=left_s),), rules=rules, labels=(label,))


def _object_taken(dice: Dice) -> Draft:
    """A bag that stood there from the beginning goes with somebody."""
    x = dice.between(480, 800)
    one = dice.strolls((-60.0, 655.0), (x, 655.0), (WIDTH + 60.0, 655.0), begins_s=14, speed=1.7, rests_s=2)
    taken_s = one.way[1][0] + 1
    label = Label(Kind.OBJECT_TAKEN, PAVEMENT.name, taken_s + REST_S, 58)
    rules = Rules(zones=(PAVEMENT,), tells=frozenset({Kind.OBJECT_TAKEN}))
    return Draft(58, players=(one,), props=(_bag(dice, x, until_s=taken_s),), rules=rules, labels=(label,))


def _crowd(dice: Dice) -> Draft:
    """Seven people gather before the entrance and stand about, shifting from foot to foot."""
    players = []
    for number in range(7):
        x, y = 505 + 46 * number + dice.between(-8, 8), dice.between(640, 690)
        start = (-60.0 if number % 2 else WIDTH + 60.0, y)
        come = dice.strolls(start, (x, y), begins_s=FIRST_S + 1.2 * number, speed=1.9)
        stays = [(come.ends_s + 1.5 * n, x + 14 * (n % 2), y) for n in range(1, 20)]
        players.append(player([*come.way, *stays], look=come.look))
    return Draft(40, players=tuple(players), rules=Rules(zones=(SQUARE,), tells=frozenset({Kind.CROWD})))


def _runs(dice: Dice) -> Draft:
    one = dice.crosses(FIRST_S + 2, speed=dice.between(4.5, 5.5))
    label = Label(Kind.RUNNING, None, one.begins_s + 0.5, one.ends_s)
    return Draft(20, players=(one,), rules=Rules(tells=frozenset({Kind.RUNNING})), labels=(label,))


# ---- the camera itself


def _spoilt(kind: Kind) -> Recipe:
    def recipe(dice: Dice) -> Draft:
        at_s = KNOWN_S + dice.between(0, 4)
        lens: tuple[Effect, ...] = ()
        frozen_s, weather, ends_s = math.inf, CALM, KNOWN_S + 40
        match kind:
            case Kind.COVERED:
                lens = (effects.Covered(at_s, dice.between(0.4, 1.5)),)
            case Kind.BLINDED:
                lens, weather = (effects.Blinded(at_s, dice.between(0.6, 1.2)),), NIGHT
            case Kind.DEFOCUSED:
                lens = (effects.Defocused(at_s, dice.between(0.5, 3), dice.between(0.02, 0.03)),)
            case Kind.TURNED:
                lens = (effects.Turned(at_s, _elsewhere(dice), dice.between(0.8, 2)),)
            case _:
                at_s = frozen_s = at_s + STILLNESS_KNOWN_S - KNOWN_S
                ends_s = at_s + 100
        return Draft(ends_s, weather, lens=lens, frozen_s=frozen_s, labels=(Label(kind, None, at_s, ends_s),))

    return recipe


def _elsewhere(dice: Dice) -> Picture:
    return Stage(dice.street + 1, Weather(noise=0, cloud=False)).frame(0)


RECIPES: dict[str, Recipe] = {
    "calm day": _plain(CALM),
    "clouds pass": _plain(Weather(), 60),
    "sensor noise": _plain(Weather(noise=8, cloud=False)),
    "night": _plain(NIGHT),
    "night with noise": _plain(Weather(night=True, noise=5, cloud=False)),
    "rain": _plain(Weather(rain=1, cloud=False)),
    "rain, wind and night": _plain(Weather(rain=0.7, wind=0.6, night=True)),
    "snow": _snow,
    "fog": _fog,
    "wind in trees": _plain(Weather(wind=0.5, cloud=False)),
    "gale": _plain(Weather(wind=1, rain=0.5, noise=4)),
    "pole in wind": _plain(Weather(shake=4, cloud=False)),
    "pole in a gale": _plain(Weather(shake=8, wind=0.8, cloud=False)),
    "headlights": _headlights,
    "shadows of clouds": _cloud_shadows,
    "lamp brightens slowly": _lamp((7, 12), NIGHT),
    "lamp brightens slowly by day": _lamp((7, 12), CALM),
    "lamp switched": _lamp((0, 0.3), NIGHT),
    "exposure steps": _exposure,
    "day to infrared": _infrared,
    "flicker": _flicker,
    "insects": _insects,
    "spider web": _web,
    "dawn": _dawn,
    "walker": _walker(),
    "small": _small,
    "slow": _slow,
    "fast": _fast,
    "grey on grey": _grey,
    "partly hidden": _partly_hidden,
    "two cross": _two_cross,
    "towards the camera": _towards,
    "away from the camera": _away,
    "jaywalker": _jaywalker,
    "vehicles": _vehicle(CALM),
    "vehicles at night": _vehicle(NIGHT),
    "walker in rain": _walker(Weather(rain=1, cloud=False)),
    "walker at night": _walker(Weather(night=True, noise=4, cloud=False)),
    "walker in a gale": _walker(Weather(wind=1, rain=0.5, noise=4)),
    "walker before a shaking pole": _walker(Weather(shake=4, cloud=False)),
    "walker in snow": _walker_and(lambda dice: ((), (effects.Snow(dice.street),)), CALM),
    "walker in fog": _walker_and(lambda dice: ((effects.Fog(dice.street, 0.45),), ()), CALM),
    "walker and headlights": _walker_and(lambda dice: (_headlights(dice).light, ()), NIGHT),
    "walker and shadows of clouds": _walker_and(lambda dice: (_cloud_shadows(dice).light, ()), CALM),
    "walker while exposure steps": _walker_and(lambda dice: ((), _exposure(dice).lens), CALM),
    "walker among insects": _walker_and(lambda dice: ((), (effects.Insects(dice.street, 34),)), NIGHT),
    "walker behind a web": _walker_and(lambda dice: ((), (effects.Web(dice.street),)), NIGHT),
    "walker under a lamp that brightens": _walker_and(lambda dice: (_lamp((7, 12), NIGHT)(dice).light, ()), NIGHT),
    "passes by the zone": _passes_by_the_zone,
    "enters the zone": _enters,
    "leaves the zone": _leaves,
    "crosses the line to the right": _line(True),
    "crosses the line to the left": _line(False),
    "two cross on the line": _meet_on_the_line((0, 0, 1.4, True), (0.3, 14, 1.5, False)),
    "two abreast over the line": _meet_on_the_line((0, 0, 1.4, True), (0.5, 16, 1.4, True)),
    "one behind another over the line": _meet_on_the_line((0, 0, 1.4, True), (1.2, 4, 1.4, True)),
    "overtaken on the line": _meet_on_the_line((0, 0, 1.1, True), (0.2, 14, 1.9, True)),
    "two meet two on the line": _meet_on_the_line(
        (0, 0, 1.4, True), (1.1, 6, 1.4, True), (0.4, 16, 1.5, False), (1.4, 20, 1.5, False)
    ),
    "loiters": _loiters,
    "object left": _object_left,
    "object taken": _object_taken,
    "crowd": _crowd,
    "runs": _runs,
    "covered": _spoilt(Kind.COVERED),
    "blinded": _spoilt(Kind.BLINDED),
    "defocused": _spoilt(Kind.DEFOCUSED),
    "turned": _spoilt(Kind.TURNED),
    "frozen": _spoilt(Kind.FROZEN),
}


def scene(name: str, seed: int) -> Scene:
    """One of `RECIPES`."""
    dice = Dice(seed, name)
    draft = RECIPES[name](dice)
    stage = Stage(dice.street, draft.weather, draft.players, draft.props, draft.light, draft.lens, draft.frozen_s)
    tracks = stage.tracks(draft.seconds)
    labels = list(draft.labels)
    for zone in draft.rules.zones or (None,):
        labels += movements(tracks, zone)
    for zone in draft.rules.zones:
        labels += passages(tracks, zone)
        labels += stays(tracks, zone, LOITER_S)
        labels += crowds(tracks, zone, CROWD_PART)
    for line in draft.rules.lines:
        labels += line_crossings(tracks, line)
    return Scene(name, draft.seconds, stage, draft.rules, tuple(sorted(labels, key=lambda label: label.start_s)))
