"""The ordered queue in Redis: bytes and ordering keys in, bytes out, in order per key.

Two events that share an ordering key are never worked on at the same time, and never in another order than they were
accepted; events that share none never wait for each other. One verb, one Lua file: `append` puts events on the queue,
`claim` takes those that are ready together with the chains behind them, `settle` says what became of them, `extend`
asks for more time, `reap` returns what died with its worker, `forget` takes out what has certain keys; `stats` and
`inspect` look. docs/lanes.md has the states.
"""

from lanes.arrival import Appended, NewEvent, QueueFull, append, append_async
from lanes.forgetting import Forgotten, ForgottenEvent, forget
from lanes.keys import digest
from lanes.letters import DeadLetter, bury, discard, each_letter, letter, letters, mend, resume
from lanes.overview import HotLane, Lane, Stats, Step, inspect, stats
from lanes.work import Burial, Claim, ClaimedEvent, Reaped, Release, Settled, claim, extend, reap, settle

__all__ = [
    "Appended",
    "Burial",
    "Claim",
    "ClaimedEvent",
    "DeadLetter",
    "Forgotten",
    "ForgottenEvent",
    "HotLane",
    "Lane",
    "NewEvent",
    "QueueFull",
    "Reaped",
    "Release",
    "Settled",
    "Stats",
    "Step",
    "append",
    "append_async",
    "bury",
    "claim",
    "digest",
    "discard",
    "each_letter",
    "extend",
    "forget",
    "inspect",
    "letter",
    "letters",
    "mend",
    "reap",
    "resume",
    "settle",
    "stats",
]
