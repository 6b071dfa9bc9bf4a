"""How many people should answer the phone? Simulates a help desk's queue, 200 days for each size of team.

The random numbers are seeded, so it prints the same each time and writes waiting.csv.
"""

import csv
import heapq
import random
import statistics
from pathlib import Path

DAYS = 200
OPEN_MINUTES = 9 * 60
CALLS_PER_HOUR = 22
MINUTES_PER_CALL = 7.0
PATIENCE_MINUTES = 8.0


def simulate_day(agents: int, chance: random.Random) -> tuple[list[float], int]:
    """Waiting times of the callers who were answered, and how many hung up before."""
    free_at = [0.0] * agents
    waits: list[float] = []
    lost = 0
    now = 0.0
    while True:
        rush = 1.6 if 120 <= now <= 240 else 1.0
        now += chance.expovariate(CALLS_PER_HOUR * rush / 60)
        if now >= OPEN_MINUTES:
            return waits, lost
        start = max(now, free_at[0])
        if start - now > chance.expovariate(1 / PATIENCE_MINUTES):
            lost += 1
            continue
        heapq.heapreplace(free_at, start + chance.lognormvariate(0, 0.5) * MINUTES_PER_CALL / 1.133)
        waits.append(start - now)


def main() -> None:
    chance = random.Random(7)
    rows = []
    print(f"{'agents':>6} {'calls/day':>10} {'mean wait':>10} {'95 % wait':>10} {'hung up':>8}")
    for agents in range(2, 9):
        waits: list[float] = []
        lost = 0
        for _ in range(DAYS):
            day, gone = simulate_day(agents, chance)
            waits += day
            lost += gone
        calls = len(waits) + lost
        mean, late = statistics.fmean(waits), statistics.quantiles(waits, n=20)[-1]
        rows.append((agents, calls / DAYS, mean, late, lost / calls))
        print(f"{agents:6} {calls / DAYS:10.1f} {mean:8.2f} m {late:8.2f} m {lost / calls:8.1%}")
    with Path("waiting.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["agents", "calls_per_day", "mean_wait_minutes", "wait_95_minutes", "share_lost"])
        writer.writerows((agents, *(round(value, 4) for value in values)) for agents, *values in rows)
    enough = next(agents for agents, _, _, _, share in rows if share < 0.02)
    print(f"\n{enough} agents lose fewer than 2 % of the callers.")


if __name__ == "__main__":
    main()
