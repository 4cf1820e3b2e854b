"""Which dialect the signs of a peer fit."""

from collections.abc import Iterable

import msgspec

from conformance.dialects.signs import Sign
from protocol.patterns import DIALECTS, Dialect


class Peer(msgspec.Struct, kw_only=True):
    """Somebody, and the signs that they gave, each once."""

    name: str
    signs: dict[tuple[str, str], Sign] = msgspec.field(default_factory=dict)

    def add(self, signs: Iterable[Sign]) -> None:
        """Take in signs."""
        for sign in signs:
            self.signs.setdefault((sign.feature, sign.seen), sign)

    @property
    def telling(self) -> list[Sign]:
        """The signs that tell dialects apart."""
        return [sign for sign in self.signs.values() if sign.tells]

    def agreeing(self, dialect: Dialect) -> tuple[int, int]:
        """How many of the telling signs belong to a dialect, and of how many its way is recorded."""
        fits = [sign.fits(dialect) for sign in self.telling]
        return sum(fit is True for fit in fits), sum(fit is not None for fit in fits)

    @property
    def best(self) -> tuple[Dialect, ...]:
        """The dialects that the fewest signs contradict; several if they cannot be told apart, none without signs."""
        if not self.telling:
            return ()
        wrong = {dialect: known - good for dialect in DIALECTS for good, known in [self.agreeing(dialect)]}
        return tuple(dialect for dialect in DIALECTS if wrong[dialect] == min(wrong.values()))

    @property
    def sentence(self) -> str:
        """What it speaks, in one sentence."""
        if not self.best:
            return f"{self.name}: nothing was shown that tells dialects apart"
        counts = {dialect: "{} of {}".format(*self.agreeing(dialect)) for dialect in DIALECTS}
        rest = ", ".join(f"{dialect} {counts[dialect]}" for dialect in DIALECTS if dialect not in self.best)
        best = " or ".join(f"{dialect}, {counts[dialect]}" for dialect in self.best)
        return f"{self.name}: {best} signs fit{f' ({rest})' if rest else ''}"
