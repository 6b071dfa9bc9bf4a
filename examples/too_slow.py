"""Finds the shortest round trip through 14 towns by trying all 6,227,020,800 of them.

It would take hours: run it with `--timeout 5` to see how a program that does not end is stopped.
"""

import itertools
import math
import random
import time

TOWNS = 14


def length(trip: tuple[int, ...], places: list[tuple[float, float]]) -> float:
    stops = [0, *trip, 0]
    return sum(math.dist(places[here], places[there]) for here, there in itertools.pairwise(stops))


def main() -> None:
    chance = random.Random(14)
    places = [(chance.uniform(0, 100), chance.uniform(0, 100)) for _ in range(TOWNS)]
    best = math.inf
    shown = time.monotonic()
    for tried, trip in enumerate(itertools.permutations(range(1, TOWNS)), start=1):
        best = min(best, length(trip, places))
        if time.monotonic() - shown >= 1:
            shown = time.monotonic()
            print(
                f"{tried:,} of {math.factorial(TOWNS - 1):,} trips tried, best so far {best:.1f}", flush=True
            )
    print(f"Shortest round trip: {best:.1f}")


if __name__ == "__main__":
    main()
