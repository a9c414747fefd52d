"""Chromium as a viewer would have it: a page plays a recording piece by piece through MediaSource.

Driven by the DevTools protocol; the page and the recording come from a web server of the test's own on loopback.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

from tests.peers.support import ManagedProcess, wait_until

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)
_PAGE = """<!doctype html><meta charset="utf-8"><title>player</title><body><script>
const heard = (target, ...names) => new Promise((done, fail) => {
  for (const name of names)
    target.addEventListener(name, () => name === "error" ? fail(Error(name)) : done(), {once: true});
});
async function play(url, type) {
  const video = document.body.appendChild(document.createElement("video"));
  video.muted = true;
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await heard(source, "sourceopen");
  const buffer = source.addSourceBuffer(type);
  const bytes = await (await fetch(url)).arrayBuffer();
  for (let at = 0; at < bytes.byteLength; at += 65536) {
    buffer.appendBuffer(bytes.slice(at, at + 65536));
    await heard(buffer, "updateend", "error");
  }
  source.endOfStream();
  const buffered = [];
  for (let n = 0; n < video.buffered.length; n++) buffered.push([video.buffered.start(n), video.buffered.end(n)]);
  const shown = new Promise(done => video.requestVideoFrameCallback(done));
  video.playbackRate = 2;
  const over = heard(video, "ended", "error");
  await video.play();
  await shown;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let light = 0;
  for (let n = 0; n < pixels.length; n += 4) light += pixels[n] + pixels[n + 1] + pixels[n + 2];
  await over;
  const quality = video.getVideoPlaybackQuality();
  return {buffered, width: video.videoWidth, height: video.videoHeight, decoded: quality.totalVideoFrames,
          corrupted: quality.corruptedVideoFrames, brightness: light / (pixels.length / 4) / 3};
}
</script>"""


@dataclass(frozen=True, slots=True)
class Played:
    """What the browser made of a recording."""

    buffered: list[tuple[float, float]]
    """Seconds, of each uninterrupted part."""
    width: int
    height: int
    decoded: int
    corrupted: int
    brightness: float
    """Mean of the first picture shown, 0 … 255."""


class Chromium:
    """`with Chromium(folder) as browser: browser.play(folder / "recording.mp4", 'video/mp4; codecs="avc1.42C01E"')`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        (self._folder / "player.html").write_text(_PAGE)
        quiet = functools.partial(_Quiet, directory=str(self._folder))
        with contextlib.ExitStack() as stack:
            web = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), quiet))
            threading.Thread(target=web.serve_forever, daemon=True).start()
            stack.callback(web.shutdown)
            profile, player = self._folder / "profile", f"http://127.0.0.1:{web.server_address[1]}/player.html"
            command = ["chromium", *_SWITCHES, f"--user-data-dir={profile}", player]
            log, env = self._folder / "chromium.log", {"HOME": str(self._folder)}
            stack.enter_context(ManagedProcess(command, log, env=env))
            told = profile / "DevToolsActivePort"
            wait_until(lambda: told.exists() and told.read_text().count("\n"), 30, "Chromium is up")
            debugger = f"http://127.0.0.1:{told.read_text().split()[0]}/json/list"
            page = wait_until(lambda: _page_of(debugger), 20, "the page is open")
            self._page = stack.enter_context(connect(page, max_size=None))
            wait_until(lambda: self._evaluate("typeof play") == "function", 20, "the page is loaded")
            self._all = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def play(self, movie: Path, kind: str) -> Played:
        """Append `movie` (in the folder) to a SourceBuffer of this type and play it to its end; AssertionError with
        the browser's words when it refuses."""
        found = self._evaluate(f"play({json.dumps(movie.name)}, {json.dumps(kind)})")
        return Played(**{**found, "buffered": [(start, end) for start, end in found["buffered"]]})

    def _evaluate(self, expression: str) -> Any:
        about = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        self._page.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": about}))
        while (answer := json.loads(self._page.recv(60))).get("id") != 1:
            pass
        assert "exceptionDetails" not in answer["result"], answer["result"]["exceptionDetails"]["exception"]
        return answer["result"]["result"].get("value")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _page_of(debugger: str) -> str | None:
    with urllib.request.urlopen(debugger, timeout=5) as answer:
        pages = [target for target in json.load(answer) if target["type"] == "page" and "player" in target["url"]]
    return str(pages[0]["webSocketDebuggerUrl"]) if pages else None
