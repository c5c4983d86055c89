"""Is the clock set by something?"""

from __future__ import annotations

from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject


class ClockCheck:
    """Whether the daemon would say that times are to be believed."""

    name = "clock"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        now = f"{subject.clock.now():%Y-%m-%d %H:%M:%S} UTC"
        if subject.clock.synchronised():
            yield Finding(self.name, Level.OK, f"{now}, synchronised")
            return
        step = (
            "give the time service a server that this network reaches (NTP= in timesyncd.conf, or chrony's "
            "sources: `timedatectl` says which runs); until then results keep their order by sequence, and "
            "say that their times are not to be believed"
        )
        yield Finding(self.name, Level.WARNING, f"{now}, not synchronised", step)
