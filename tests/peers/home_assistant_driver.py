"""Home Assistant itself, without its front end: MQTT discovery is all that it has.  Run by `home_assistant.py`.

    python home_assistant_driver.py FOLDER BROKER_PORT HTTP_PORT

Each change of a state is a JSON line on standard output; an end of standard input ends it.
"""

import asyncio
import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from homeassistant import bootstrap, loader
from homeassistant.auth import auth_manager_from_config
from homeassistant.config_entries import ConfigEntries
from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component


def storage(broker_port: int) -> dict[str, Any]:
    entry = {
        "entry_id": "mqtt1",
        "version": 1,
        "minor_version": 1,
        "domain": "mqtt",
        "title": "broker",
        "data": {"broker": "127.0.0.1", "port": broker_port, "discovery": True, "discovery_prefix": "homeassistant"},
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "unique_id": None,
        "disabled_by": None,
    }
    return {"version": 1, "minor_version": 1, "key": "core.config_entries", "data": {"entries": [entry]}}


async def told(hass: HomeAssistant, state: Any) -> None:
    """A state as a line; of pictures their hash."""
    entry = entity_registry.async_get(hass).async_get(state.entity_id)
    device = device_registry.async_get(hass).async_get(entry.device_id) if entry and entry.device_id else None
    picture = None
    if state.domain == "image":
        picture = await hass.data["image"].get_entity(state.entity_id).async_image()
    elif state.domain == "camera":
        picture = await hass.data["camera"].get_entity(state.entity_id).async_camera_image()
    line = {
        "entity_id": state.entity_id,
        "unique_id": entry.unique_id if entry else None,
        "device": device.name if device else None,
        "via": bool(device and device.via_device_id),
        "state": state.state,
        "attributes": {key: str(value) for key, value in state.attributes.items()},
        "picture": hashlib.sha256(picture).hexdigest() if picture else None,
    }
    print(json.dumps(line), flush=True)


async def changed(hass: HomeAssistant, event: Any) -> None:
    """A camera's state is the same whatever it shows, so cameras are told again with each image."""
    state = event.data["new_state"]
    if state is None:
        return
    await told(hass, state)
    if state.domain == "image":
        await asyncio.sleep(0.3)
        for camera in hass.states.async_all("camera"):
            await told(hass, camera)


async def main(folder: Path, broker_port: int, http_port: int) -> None:
    (folder / ".storage").mkdir(parents=True)
    (folder / ".storage" / "core.config_entries").write_text(json.dumps(storage(broker_port)))
    (folder / "configuration.yaml").touch()
    hass = HomeAssistant(str(folder))
    hass.config.skip_pip = True
    hass.config.internal_url = f"http://127.0.0.1:{http_port}"
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await hass.config_entries.async_initialize()
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [], [])
    hass.bus.async_listen(EVENT_STATE_CHANGED, lambda event: hass.async_create_task(changed(hass, event)))
    assert await async_setup_component(hass, "http", {"http": {"server_host": ["127.0.0.1"], "server_port": http_port}})
    assert await async_setup_component(hass, "mqtt", {})
    await hass.async_start()
    print(json.dumps({"started": True}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await hass.async_stop()


logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
