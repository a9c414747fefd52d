"""The demo's MQTT broker: amqtt, TCP and WebSocket, on the loopback only.

`python -m edge_agent.demo.broker --port P --ws-port W` prints one JSON line when it listens and ends with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys

from amqtt.broker import Broker

_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


def broker_config(port: int, ws_port: int) -> dict[str, object]:
    """amqtt's own configuration words."""
    return {
        "listeners": {
            "default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 100},
            "web": {"type": "ws", "bind": f"127.0.0.1:{ws_port}", "max_connections": 100},
        },
        "plugins": _PLUGINS,
    }


async def _serve(port: int, ws_port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else stop.set())
    broker = Broker(broker_config(port, ws_port))
    await broker.start()
    print(json.dumps({"mqtt": f"127.0.0.1:{port}", "websocket": f"ws://127.0.0.1:{ws_port}"}), flush=True)
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ws-port", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)  # amqtt logs a traceback for each client of another MQTT version
    asyncio.run(_serve(options.port, options.ws_port))


if __name__ == "__main__":
    main()
