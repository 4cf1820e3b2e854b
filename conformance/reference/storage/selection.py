"""What a query leaves to a store on disk, in questions that are not too long for it, and what the matcher must see."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from protocol.roles.matching import predicate
from protocol.roles.records import FIELDS, Record, narrowed

T = TypeVar("T")


def shares(values: Sequence[T], most: int) -> list[Sequence[T]]:
    """These values, at most so many at a time."""
    return [values[start : start + most] for start in range(0, len(values), most)]


class Selection:
    """How the records that fit a query are found, when a list in a question has at most `most` values.

    Each of `questions` gives per field the values of which a record must have one (None stands for null); every record
    that fits answers just one of them. `not_null` are the fields that must have a value, `fields` those to read.
    Raises QueryError.
    """

    def __init__(self, query: Mapping[str, Any], keys: Sequence[str], most: int) -> None:
        self._fits: Final = predicate(query)
        asked = narrowed(query)
        long = [field for field, among in asked.among.items() if len(among) > most]
        # Of lists too long for one question the first is asked in shares, others are left to the matcher.
        self._is_decided: Final = asked.is_all and len(long) < 2
        roots = () if self._is_decided else tuple(key.split(".")[0] for key in query)
        self.fields: Final = [field for field in FIELDS if field in keys or field in roots]
        self.not_null: Final = asked.not_null
        short = {field: among for field, among in asked.among.items() if field not in long}
        self.questions: Final[Sequence[Mapping[str, Sequence[str | None]]]] = (
            [short | {long[0]: share} for share in shares(asked.among[long[0]], most)] if long else [short]
        )

    def fits(self, record: Record) -> bool:
        """Whether a record that answers a question, of which the fields were read, fits the whole query."""
        return self._is_decided or self._fits(record)
