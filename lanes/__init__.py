"""The ordered queue in Redis: bytes and ordering keys in, bytes out, in order per key.

Two events that share an ordering key are never worked on at the same time, and never in another order than they were
accepted; events that share none never wait for each other. One verb, one Lua file: `append` puts events on the queue,
`claim` takes those that are ready together with the chains behind them, `settle` says what became of them, `extend`
asks for more time, `reap` returns what died with its worker, `forget` takes out what has certain keys; `stats` and
`inspect` look. docs/lanes.md has the states.
"""

from lanes.append import Appended, NewEvent, QueueFull, append, append_async
from lanes.claims import Burial, Claim, ClaimedEvent, Death, Reaped, Release, Settled, claim, extend, reap, settle
from lanes.dead_letters import (
    DeadLetter,
    LettersChanged,
    OldLetter,
    PutBack,
    bury,
    changes,
    close_file,
    count_letters,
    discard,
    forget_file,
    held_letters,
    let_go,
    letters,
    mend,
    named_letters,
    open_file,
    put_back,
    spill,
)
from lanes.erase import Forgotten, ForgottenEvent, forget
from lanes.inspection import HotLane, Lane, Stats, Step, Waiting, inspect, queue_of, stats
from lanes.keys import digest

__all__ = [
    "Appended",
    "Burial",
    "Claim",
    "ClaimedEvent",
    "DeadLetter",
    "Death",
    "Forgotten",
    "ForgottenEvent",
    "HotLane",
    "Lane",
    "LettersChanged",
    "NewEvent",
    "OldLetter",
    "PutBack",
    "QueueFull",
    "Reaped",
    "Release",
    "Settled",
    "Stats",
    "Step",
    "Waiting",
    "append",
    "append_async",
    "bury",
    "changes",
    "claim",
    "close_file",
    "count_letters",
    "digest",
    "discard",
    "extend",
    "forget",
    "forget_file",
    "held_letters",
    "inspect",
    "let_go",
    "letters",
    "mend",
    "named_letters",
    "open_file",
    "put_back",
    "queue_of",
    "reap",
    "settle",
    "spill",
    "stats",
]
