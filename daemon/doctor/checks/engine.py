"""Does the engine bundle hold what its manifest says, and may it be used here?"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lineside.daemon.composition import demo_bundle, engine_trust
from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.engines.bundle import verify_bundle
from lineside.engines.errors import EngineError
from lineside.engines.signing import policy_of


class EngineCheck:
    """Every file of the bundle against its hash, and the signature where one is asked for."""

    name = "engine"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        settings = subject.known.engine
        bundle = settings.bundle or demo_bundle()
        try:
            policy = engine_trust(settings) or policy_of(os.environ)
            manifest = verify_bundle(bundle, policy.admit)
        except (EngineError, OSError) as error:
            step = "bring the bundle to the device again, or name another under engine.bundle"
            yield Finding(self.name, Level.FAILED, f"{bundle}: {error}", step)
            return
        message = f"{manifest.name} {manifest.version}, {len(manifest.files)} files, {manifest.digest[:12]}"
        if manifest.is_demo:
            step = "name a real engine under engine.bundle before judging real parts"
            yield Finding(self.name, Level.WARNING, f"{message}: knows the demonstration's parts only", step)
            return
        yield Finding(self.name, Level.OK, message)
