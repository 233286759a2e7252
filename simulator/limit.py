"""The rate limit of the service (rule 10), and the rates at which requests arrived."""

from __future__ import annotations

from collections import Counter, deque


class Limit:
    """A token bucket with the capacity of one second; it also counts the requests per second."""

    def __init__(self) -> None:
        self.by_second: Counter[int] = Counter()  # Unix second → requests
        self.busiest = 0  # most requests within one second, at whatever time it starts
        self._last_second: deque[float] = deque()
        self._spent = 0.0
        self._at = 0.0

    def is_exceeded(self, now: float, per_s: float | None) -> bool:
        """Count a request at `now` (Unix seconds); return whether it exceeds the limit `per_s`, if there is one."""
        self._look(now)
        if per_s is None:
            return False
        self._spent = max(0.0, self._spent - (now - self._at) * per_s)
        self._at = now
        if self._spent + 1 > max(per_s, 1):
            return True
        self._spent += 1
        return False

    def _look(self, now: float) -> None:
        self.by_second[int(now)] += 1
        self._last_second.append(now)
        while self._last_second[0] <= now - 1:
            self._last_second.popleft()
        self.busiest = max(self.busiest, len(self._last_second))
