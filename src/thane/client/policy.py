"""How long to wait and whether to ask again. Decides; does nothing itself."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import Final

from thane.client.problem import ApiError, TimedOut

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 8.0
# Answers of proxies in front of a server that is starting, restarting or full.
TRANSIENT: Final = frozenset({429, 502, 503, 504})
IN_PROGRESS: Final = "in_progress"


@dataclass(frozen=True, slots=True)
class Options:
    """How calls are made; `Thane` says what each means."""

    timeout: float = 60.0
    effect_timeout: float = 3900.0
    retries: int = 4
    run_id: str | None = None
    project_id: str | None = None

    def but(
        self,
        *,
        timeout: float | None = None,
        effect_timeout: float | None = None,
        retries: int | None = None,
        run_id: str | None = None,
        project_id: str | None = None,
    ) -> Options:
        """These with some changed; ValueError for what makes no sense."""
        made = replace(
            self,
            timeout=self.timeout if timeout is None else timeout,
            effect_timeout=self.effect_timeout if effect_timeout is None else effect_timeout,
            retries=self.retries if retries is None else retries,
            run_id=self.run_id if run_id is None else run_id,
            project_id=self.project_id if project_id is None else project_id,
        )
        if made.timeout <= 0 or made.effect_timeout <= 0 or made.retries < 0:
            raise ValueError("timeouts are seconds above 0, and retries is 0 or more")
        return made


class Deadline:
    """The end of the time that a call was given."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, not below 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> float:
        """Seconds that are left; TimedOut if none are."""
        left = self.left
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> TimedOut:
        """The error of a call whose time is over."""
        return TimedOut(
            f"no answer within {self.seconds:g} s",
            "Allow more with `with_options(timeout=…)`, or effect_timeout for programs; "
            "what was begun may have been done, so look before you ask again.",
        )


def pause(attempt: int, retry_after: float | None) -> float:
    """Seconds before attempt number `attempt` (1 is the first repetition): exponential, with jitter.

    Never shorter than what the server asked for.
    """
    most = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16))
    return (retry_after or 0.0) + random.uniform(most / 2, most)


def worth_repeating(error: ApiError) -> bool:
    """Whether the same request may do better later."""
    return error.retryable or (error.status in TRANSIENT and not error.code)
