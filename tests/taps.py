"""Taps as tests use them."""

from __future__ import annotations


class Unwatched:
    """A tap that is not watched. It counts how often it was asked, and has nothing else."""

    def __init__(self) -> None:
        self.looks = 0

    @property
    def is_watched(self) -> bool:
        self.looks += 1
        return False
