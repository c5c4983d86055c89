"""Where stations stand, and nothing else of them: a thousand at the cost of a thousand short rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.people.rights import Place


@dataclass(frozen=True, slots=True)
class Spot:
    """A station's row id and name, the device it hangs on, and the line that stands on."""

    id: int
    station: str
    device: str
    place: Place

    @property
    def line(self) -> str:
        """The line alone."""
        return self.place[2]


def spots(session: Session) -> list[Spot]:
    """All stations ever heard of."""
    found = session.execute(
        select(Station.id, Station.station, Device.device, Device.site, Device.area, Device.line).join(
            Device, Device.id == Station.device_id
        )
    )
    return [Spot(i, station, device, (site, area, line)) for i, station, device, site, area, line in found]
