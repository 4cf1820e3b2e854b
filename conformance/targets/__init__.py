"""How an implementation is brought up: its descriptor, its processes, its connection files.

Nothing here knows what a case is. A descriptor says what a target is; `process.start` makes it run and takes it down.
"""

from conformance.targets.descriptor import Deviation, Target, Timing, load
from conformance.targets.errors import DescriptorError, TargetError, TargetUnusable

__all__ = ["DescriptorError", "Deviation", "Target", "TargetError", "TargetUnusable", "Timing", "load"]
