"""Mistakes of a Hub in what it purges."""

from collections.abc import Sequence

from conformance.mutants.changes import asked, without
from conformance.mutants.mutant import Mutant
from conformance.mutants.refusals import AnswersErrors
from protocol.roles.base import Effect, Store
from protocol.wire import Json


class Purging(Mutant):
    """A Hub that purges otherwise: `dropped` is the query by which it drops records, or None to keep all."""

    def dropped(self, query: Json) -> Json | None:
        """What is dropped instead."""
        raise AssertionError(f"{self.name()} drops what it should")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Drop something else."""
        if isinstance(effect, Store) and effect.operation == "drop_matching":
            query = self.dropped(dict(effect.arguments[0]))
            return () if query is None else (Store("drop_matching", (query,)),)
        return (effect,)


class PurgesInSilence(Mutant):
    """What is gone is gone."""

    breaks = ("query.purge-answered",)
    says = (without("purge_reply"),)


class PurgesNothing(Purging):
    """Disks are large."""

    breaks = ("query.purge-by-id", "query.purge-by-engine", "query.purge-all", "query.purge-forgets")

    def dropped(self, query: Json) -> Json | None:
        """Nothing."""
        return None


class PurgesEverything(Purging):
    """Who tidies up tidies up."""

    breaks = ("query.purge-keeps-others",)

    def dropped(self, query: Json) -> Json | None:
        """All that is completed."""
        return {"completed": {"$ne": None}}


class PurgesWhatIsPendingToo(Purging):
    """Gone is gone."""

    breaks = ("query.purge-keeps-pending",)

    def dropped(self, query: Json) -> Json | None:
        """The same without a look at what is completed."""
        return {key: value for key, value in query.items() if key != "completed"}


class PurgesWhatDoesNotExist(AnswersErrors):
    """What is not there is gone."""

    breaks = ("query.purge-nonexistent-refused", "query.purge-unknown-engine", "query.purge-pending-refused")
    replies = ("purge",)


class PurgesAllWhenToldNothing(Mutant):
    """Who names nothing means everything."""

    breaks = ("query.purge-nothing",)
    hears = (asked("purge_request", lambda c: c if c.get("msg_ids") or c.get("engine_ids") else {"msg_ids": "all"}),)


class PurgesAllForNull(Mutant):
    """Null means all, as elsewhere."""

    breaks = ("query.purge-null-answered",)
    hears = (asked("purge_request", lambda c: c | ({"msg_ids": "all"} if c.get("msg_ids", 1) is None else {})),)
