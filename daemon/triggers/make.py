"""The one list of trigger kinds: from options to a trigger that is fed with frames."""

from __future__ import annotations

from lineside.daemon.triggers.base import FrameTrigger
from lineside.daemon.triggers.every_frame import EveryFrameTrigger
from lineside.daemon.triggers.interval import IntervalTrigger
from lineside.daemon.triggers.motion.trigger import MotionTrigger
from lineside.daemon.triggers.options import (
    EveryFrameOptions,
    GrpcOptions,
    IntervalOptions,
    MotionOptions,
    MqttOptions,
    TriggerOptions,
)


def make_trigger(options: TriggerOptions) -> FrameTrigger | None:
    """The trigger these options describe; None for those that come from outside, on the newest frame."""
    match options:
        case IntervalOptions():
            return IntervalTrigger(options)
        case EveryFrameOptions():
            return EveryFrameTrigger()
        case MotionOptions():
            return MotionTrigger(options)
        case MqttOptions() | GrpcOptions():
            return None
