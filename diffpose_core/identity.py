# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""Who is who over time in what several cameras saw, by the ids that the cameras gave."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence


class FusedIdentities:
    """Gives people ids that outlast the view of any one camera, and are never given twice.

    Somebody is whom most of the cameras that see him knew him as. One camera that loses him, or takes him for another,
    changes nothing as long as others keep him.

    Args:
        buffer_s: what a camera's id stood for is forgotten after so long unseen.
        ids: where new ids come from, each once; 0, 1, 2... if None.

    Raises:
        ValueError: a negative buffer.
    """

    def __init__(self, buffer_s: float = 1.0, ids: Iterator[int] | None = None) -> None:
        if not buffer_s >= 0:
            raise ValueError(f"buffer_s must not be negative, got {buffer_s}")
        self.buffer_s = buffer_s
        self._ids = itertools.count() if ids is None else ids
        self._known: dict[tuple[str, int], tuple[int, float]] = {}
        self._stamp_s = -math.inf

    def update(self, persons: Sequence[Mapping[str, int]], stamp_s: float) -> list[int]:
        """Find the people of earlier instants in this one.

        A stamp before the last one, as when a recording begins again, makes everybody new.

        Args:
            persons: of every person, camera -> the id that it has there; at least one.
            stamp_s: seconds.

        Returns:
            One id per person.

        Raises:
            ValueError: a stamp that is not finite, somebody whom no camera saw, or an id of a camera given to two.
        """
        if not math.isfinite(stamp_s):
            raise ValueError(f"stamp_s must be finite, got {stamp_s}")
        seen = [(camera, number) for person in persons for camera, number in person.items()]
        if twice := [key for key, count in Counter(seen).items() if count > 1]:
            raise ValueError(f"persons must differ in each camera's ids, got {twice[0]} twice")
        if not all(persons):
            raise ValueError("persons must be seen by at least one camera each")
        oldest_s = stamp_s - self.buffer_s if stamp_s >= self._stamp_s else math.inf
        self._stamp_s = stamp_s
        self._known = {key: known for key, known in self._known.items() if known[1] >= oldest_s}
        votes = Counter(
            (p, self._known[key][0]) for p, person in enumerate(persons) for key in person.items() if key in self._known
        )
        found: dict[int, int] = {}
        # Most votes first; of as many, who is known for longest.
        for (p, number), _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0][1], vote[0][0])):
            if p not in found and number not in found.values():
                found[p] = number
        for p in range(len(persons)):
            if p not in found:
                found[p] = next(self._ids)
            self._known |= {key: (found[p], stamp_s) for key in persons[p].items()}
        return [found[p] for p in range(len(persons))]
