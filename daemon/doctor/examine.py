"""All checks, in the order in which one would look, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lineside.daemon.doctor.base import Check, Finding, Level, Subject
from lineside.daemon.doctor.checks.broker import BrokerCheck
from lineside.daemon.doctor.checks.cameras import CamerasCheck
from lineside.daemon.doctor.checks.certificates import CertificatesCheck
from lineside.daemon.doctor.checks.clock import ClockCheck
from lineside.daemon.doctor.checks.database import DatabaseCheck
from lineside.daemon.doctor.checks.disk import DiskCheck
from lineside.daemon.doctor.checks.engine import EngineCheck
from lineside.daemon.doctor.checks.gpu import GpuCheck
from lineside.daemon.doctor.checks.jetson import JetsonCheck
from lineside.daemon.doctor.checks.memory import MemoryCheck
from lineside.daemon.doctor.checks.platform import PlatformCheck
from lineside.daemon.doctor.checks.ports import PortsCheck
from lineside.daemon.doctor.checks.recipes import RecipesCheck
from lineside.daemon.doctor.checks.settings import SettingsCheck
from lineside.daemon.doctor.checks.thermal import ThermalCheck
from lineside.daemon.secrets import masked_text

CHECKS: tuple[Check, ...] = (
    PlatformCheck(),
    SettingsCheck(),
    RecipesCheck(),
    EngineCheck(),
    GpuCheck(),
    JetsonCheck(),
    MemoryCheck(),
    ThermalCheck(),
    ClockCheck(),
    DiskCheck(),
    DatabaseCheck(),
    PortsCheck(),
    CertificatesCheck(),
    BrokerCheck(),
    CamerasCheck(),
)


def examine(subject: Subject, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Every check's findings as they come; passwords in URLs are masked."""
    for check in checks:
        if check.needs_settings and subject.settings is None:
            yield Finding(check.name, Level.SKIPPED, "the settings do not hold")
            continue
        try:
            for finding in check.run(subject):
                yield Finding(finding.check, finding.level, masked_text(finding.message), finding.next_step)
        except Exception as error:  # noqa: BLE001 - the edge: one check that fails must not hide the others
            message = masked_text(f"the check itself failed: {type(error).__name__}: {error}")
            yield Finding(check.name, Level.FAILED, message, "send the output of `lineside support-bundle`")
