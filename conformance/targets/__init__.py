"""How an implementation is brought up: its descriptor, its processes, its connection files.

Nothing here knows what a case is. A descriptor says what a target is; `process.start` makes it run and takes it down.
"""

from conformance.targets.descriptor import Target, load
from conformance.targets.errors import DescriptorError, TargetError, TargetUnusable
from conformance.targets.tables import Deviation, Timing

__all__ = ["DescriptorError", "Deviation", "Target", "TargetError", "TargetUnusable", "Timing", "load"]
