"""How the updates of workers met each other, counted."""

from dataclasses import dataclass, field

STALEST = 16  # updates of others; what is staler is counted as this


@dataclass
class Tally:
    """How updates met those of other workers.

    Args:
        staleness: how many updates had 0, 1, 2 ... updates of others between reading and writing; the last entry is for
            16 and more.
        conflicts: updates during which another worker wrote.
        sampled, lost: additions to single numbers that were looked at, and how many of them get lost because another
            worker changed the number between reading and writing.
    """

    staleness: list[int] = field(default_factory=lambda: [0] * (STALEST + 1))
    conflicts: int = 0
    sampled: int = 0
    lost: int = 0

    @property
    def updates(self) -> int:
        """How many updates were counted."""
        return sum(self.staleness)

    def stale(self, updates: int, count: int = 1) -> None:
        """Count updates, each with so many of others between reading and writing."""
        self.staleness[min(updates, STALEST)] += count

    def add(self, other: "Tally") -> None:
        """Count in what another one counted."""
        self.staleness = [mine + its for mine, its in zip(self.staleness, other.staleness, strict=True)]
        self.conflicts += other.conflicts
        self.sampled += other.sampled
        self.lost += other.lost
