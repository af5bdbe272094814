"""How much may be sent: to one receiver, of a template, by a caller, to a country.

Attempts count before they are made, in the transaction that takes a message on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.storage.message_store import Quota, Use

from .gateway import Letter
from .number import country_code, mask

#: So many in so many seconds.
Limit = tuple[int, float]


@dataclass(frozen=True)
class SmsLimits:
    """The limits of each kind, which all have to hold; none: no limit."""

    receiver: Sequence[Limit] = ()
    template: Sequence[Limit] = ()
    caller: Sequence[Limit] = ()
    country: Sequence[Limit] = ()
    total: Sequence[Limit] = ()

    @property
    def longest_seconds(self) -> float:
        """How long what was sent counts."""
        kinds = (self.receiver, self.template, self.caller, self.country, self.total)
        return max((seconds for kind in kinds for _, seconds in kind), default=0.0)

    def of(
        self, letter: Letter, *, caller: str
    ) -> tuple[Sequence[Use], Sequence[Quota]]:
        """Return what a message uses, and the quotas that this has to fit in."""
        count = len(letter.receivers)
        uses, quotas = list[Use](), list[Quota]()

        def limit(
            limits: Sequence[Limit], kind: str, counts: Mapping[str, int]
        ) -> None:
            for name, used in counts.items() if limits else ():
                uses.append(Use(f"{kind} {name}", used))
                shown = mask(name) if kind == "receiver" else name
                for most, seconds in limits:
                    words = f"{most} in {seconds:g} s for {kind} {shown}".rstrip()
                    quotas.append(Quota(f"{kind} {name}", words, most, seconds))

        limit(self.receiver, "receiver", dict.fromkeys(letter.receivers, 1))
        limit(self.template, "template", {letter.template.name: count})
        limit(self.caller, "caller", {caller: count})
        if self.country:
            limit(self.country, "country", Counter(map(country_code, letter.receivers)))
        limit(self.total, "all", {"": count})
        return uses, quotas
