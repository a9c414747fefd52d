"""Hours in which nothing happens but weather, faster than they last: how often a watcher cries for nothing.

An hour is made of stretches of ten minutes, each with another street and another of `SKIES`, chosen by chance; in
each, light changes about as often as on a real street: a passing cloud each two minutes, in every third stretch a
step of the camera's exposure, at night now and then the headlights of a car that stays out of the picture.  Pictures
are 320x180, 5 a second, and are not encoded; as in the watcher, half of them are looked at while nothing stirs, and
only those are painted.  Each stretch begins with a watcher that has learnt nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor

import cv2
import numpy as np

from bench.scenes import effects
from bench.scenes.catalogue import Rules
from bench.scenes.stage import Effect, Stage
from bench.watching_product import alarms_of_pictures
from edge_agent.demo.scene import Weather

STRETCH_S, FPS, SIZE = 600.0, 5.0, (320, 180)
DAY_S = 86_400.0
SKIES = (
    Weather(),
    Weather(noise=5),
    Weather(rain=0.6),
    Weather(rain=1, wind=0.4, cloud=False),
    Weather(wind=0.4),
    Weather(wind=0.8, shake=3),
    Weather(night=True, noise=3),
    Weather(night=True, noise=3, rain=0.6, wind=0.3),
    Weather(noise=3, cloud=False),  # snow, below
    Weather(noise=3, cloud=False),  # fog
)
_SNOW, _FOG = 8, 9


def stretch(seed: int, number: int) -> Stage:
    """Ten minutes of it."""
    rng = np.random.default_rng((seed, number, 99))
    sky = int(rng.integers(len(SKIES)))
    weather = SKIES[sky]
    light: list[Effect] = []
    lens: list[Effect] = []
    if sky == _SNOW:
        lens.append(effects.Snow(number))
    if sky == _FOG:
        light.append(effects.Fog(number, 0.45))
    if weather.night:
        begins = np.cumsum(rng.exponential(60, 12)) + 6
        light.append(effects.Headlights(tuple((float(at), 3.0, bool(rng.integers(2))) for at in begins), 50))
    if number % 3 == 0:
        light.append(effects.Gain(((float(rng.uniform(60, 500)), 0.5, float(rng.uniform(0.75, 1.3))),)))
    return Stage(int(rng.integers(1 << 30)), weather, light=light, lens=lens, size=SIZE, fps=FPS)


def false_alarms(seed: int, number: int) -> int:
    """Of one stretch."""
    cv2.setNumThreads(1)  # a process for each core already
    return len(alarms_of_pictures(stretch(seed, number).frame, round(STRETCH_S * FPS), FPS, Rules()))


def through(hours: float, seed: int, pool: Executor, say: Callable[[str], None]) -> tuple[int, float]:
    """(false alarms, seconds watched); says each six hours how far it is."""
    stretches = max(1, round(hours * 3600 / STRETCH_S))
    count = 0
    for done, found in enumerate(pool.map(false_alarms, [seed] * stretches, range(stretches)), start=1):
        count += found
        if done % 36 == 0:
            say(f"{done * STRETCH_S / 3600:g} of {hours:g} hours of weather, {count} false alarms")
    return count, stretches * STRETCH_S


def most_a_day(count: int, seconds: float) -> float:
    """With 95 % confidence there are not more a day than this (the exact Poisson bound)."""
    low, high = 0.0, 10.0 + 5 * count
    for _ in range(60):
        mean = (low + high) / 2
        at_most = sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count + 1))
        low, high = (mean, high) if at_most > 0.05 else (low, mean)
    return high * DAY_S / seconds
