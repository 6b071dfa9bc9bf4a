"""A service whose cache never forgets: it grows until its memory limit ends it.

Run it with `--memory 128` to see what that looks like.
"""

import hashlib

CACHE: dict[str, bytes] = {}


def render(page: str) -> bytes:
    """Pretends to render a page of 64 KiB, and remembers it."""
    if page not in CACHE:
        CACHE[page] = hashlib.shake_256(page.encode()).digest(64 * 1024)
    return CACHE[page]


def main() -> None:
    served = 0
    for visitor in range(1_000_000):
        # Every visitor has an address of their own, so no page is ever found in the cache.
        served += len(render(f"/catalogue?visitor={visitor}"))
        if visitor % 500 == 0:
            print(
                f"{visitor:,} pages served, {len(CACHE):,} in the cache, {served / 1e6:,.0f} MB", flush=True
            )


if __name__ == "__main__":
    main()
