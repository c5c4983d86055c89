"""All outputs of the device, by station: what composition builds, a station calls, and people look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lineside.daemon.clock import Clock
from lineside.daemon.outputs.options import OutputSettings
from lineside.daemon.outputs.output import Output, OutputState
from lineside.daemon.values import Verdict


class StationOutputs:
    """The outputs of one station."""

    def __init__(self, outputs: Iterable[Output]) -> None:
        self._outputs = tuple(outputs)

    def verdict(self, verdict: Verdict, seen_ns: int) -> None:
        """Acts on one verdict, at once; `seen_ns` is the monotonic time at which the part was seen."""
        for output in self._outputs:
            output.verdict(verdict, seen_ns)

    def states(self) -> tuple[OutputState, ...]:
        """Every output as it is now."""
        return tuple(output.state() for output in self._outputs)

    def objections(self) -> tuple[str, ...]:
        """Why the station must not run: a reject output whose line does not work."""
        return tuple(
            f"reject output '{state.output}' does not work: {state.trouble}"
            for state in self.states()
            if state.role == "reject" and state.trouble is not None
        )


NO_OUTPUTS = StationOutputs(())


class Outputs:
    """Owns every output of the device. `on_trouble` takes a stable code and a message, in any thread."""

    def __init__(
        self, settings: Iterable[OutputSettings], clock: Clock, on_trouble: Callable[[str, str], None]
    ) -> None:
        self._ready: Mapping[str, Callable[[], bool]] = {}
        self._outputs = tuple(
            Output(entry, clock, on_trouble=on_trouble, ready=lambda name=entry.station: self._is_ready(name))  # type: ignore[misc]
            for entry in settings
        )

    def of(self, station: str) -> StationOutputs:
        """Those that belong to one station."""
        return StationOutputs(output for output in self._outputs if output.settings.station == station)

    def open(self, ready: Mapping[str, Callable[[], bool]]) -> None:
        """Starts all; `ready` says by station whether it can judge."""
        self._ready = ready
        for output in self._outputs:
            output.open()

    def close(self) -> None:
        """Switches all off and ends them."""
        for output in self._outputs:
            output.close()

    def _is_ready(self, station: str) -> bool:
        return station in self._ready and self._ready[station]()
