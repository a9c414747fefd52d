"""A person sets a mode, or goes back to the programme (`docs/modes.md`, "Overrides")."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from edge_agent.clock import Clock
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import CameraId
from edge_agent.modes.programme import ModeId, Override
from edge_agent.modes.standing import Modes, Scope
from edge_agent.trust.command import ModeArgs
from edge_agent.trust.door import Admitted
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.mode_reports import mode_report, mode_words
from edge_agent.uplink.payloads import Words, shown
from edge_agent.when import iso_utc


class ModeOrders:
    """Owned by whoever owns the modes."""

    def __init__(self, modes: Modes, zone: ZoneInfo, clock: Clock) -> None:
        self._modes, self._zone, self._clock = modes, zone, clock

    def carry_out(self, admitted: Admitted, args: ModeArgs) -> Done:
        """EdgeError says why it can't be; then nothing was changed."""
        camera = self._scope(args)
        if args.mode is None:
            ended = self._modes.clear(camera)
            said = _cleared(bool(ended), self._words(camera))
        else:
            self._modes.set(self._override(admitted, args, args.mode, camera))
            said = self._words(camera)
        now = {name: mode_report(self._modes.standing(CameraId(name))) for name in self._modes.plan.of_cameras}
        result = {
            "node": mode_report(self._modes.standing(None)).model_dump(mode="json"),
            "cameras": {name: report.model_dump(mode="json") for name, report in now.items()},
        }
        return Done(said, result)

    def _scope(self, args: ModeArgs) -> Scope:
        known = self._modes.plan.of_cameras
        if args.camera is not None and args.camera not in known:
            raise NotFoundError(f"no camera {args.camera} here; there are: {', '.join(known)}")
        return CameraId(args.camera) if args.camera is not None else None

    def _override(self, admitted: Admitted, args: ModeArgs, mode: str, camera: Scope) -> Override:
        modes, now_us = self._modes.plan.modes, self._clock.utc_us()
        if mode not in modes:
            raise NotFoundError(f"no mode {mode} here; there are: {', '.join(modes)}")
        if args.until_us is not None and args.until_us <= now_us:
            raise UsageError(f"it is {iso_utc(now_us)} here, {iso_utc(args.until_us)} is over: say a later end")
        return Override(
            mode=ModeId(mode),
            until_us=args.until_us,
            number=self._modes.next_number(),
            since_us=now_us,
            who=admitted.person.full_name,
            person_id=admitted.person.person_id,
            camera=camera,
            reason=args.reason,
            ref=admitted.command.nonce,
        )

    def _words(self, camera: Scope) -> Words:
        return mode_words(camera, self._modes.standing(camera), self._clock.utc_us(), self._zone)


def _cleared(any_ended: bool, now: Words) -> Words:
    """What was ended; and what there is now, be it by the node's override, for a camera."""
    if any_ended:
        return Words(uk=shown(f"Повернено. {now.uk}"), en=shown(f"Set back. {now.en}"))
    return Words(uk=shown(f"Повертати не було чого. {now.uk}"), en=shown(f"Nothing was set. {now.en}"))
