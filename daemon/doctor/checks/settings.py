"""Do the settings hold?"""

from __future__ import annotations

from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject


class SettingsCheck:
    """The settings file is read as the daemon reads it."""

    name = "settings"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        settings = subject.settings
        if settings is None:
            yield Finding(
                self.name, Level.FAILED, subject.trouble, "mend the line that is named, then look again"
            )
            return
        counted = f"{len(settings.cameras)} cameras, {len(settings.stations)} stations"
        state = "the daemon runs" if subject.daemon_runs else "the daemon does not run"
        yield Finding(self.name, Level.OK, f"{subject.config}: {counted}; {state}")
