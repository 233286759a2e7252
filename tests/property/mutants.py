"""The mutations of the Lua of the reorder window: one at least of each comparison."""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """A text of a file in `lanes/lua`, which is there once, and what replaces it."""

    file: str
    text: str
    mutated: str
    equivalent: str = ""  # why no caller can observe the mutation

    def __str__(self) -> str:
        return f"{' '.join(self.text.split())} → {' '.join(self.mutated.split())}"


_RANK: Final = [
    Mutant(
        "lib/bulk.lua",
        "#found < count and call('EXISTS', name) == 1",
        "#found + 1 < count and call('EXISTS', name) == 1",
    ),
    Mutant(
        "lib/bulk.lua", "#found < count and call('EXISTS', name) == 1", "#found < count and call('EXISTS', name) == 0"
    ),
    Mutant("lib/bulk.lua", "return count < #names and found or names", "return names"),
    Mutant("lib/rank.lua", "now + LONGEST_WAIT_MS + RANK_GENERATION_MS, RANK", "now, RANK"),
]

_NEWEST: Final = [
    Mutant("lib/newest.lua", "newest and newest > now_text", "false"),
    Mutant("lib/newest.lua", "is_behind and newest or now_text", "now_text"),
]

_OFFERED: Final = [
    Mutant("lib/offered.lua", "text ~= '' and", "text == '' and"),
    Mutant(
        "lib/offered.lua", "TIME_DIGITS - OFFERED_BYTES - 1) > now_text", "TIME_DIGITS - OFFERED_BYTES - 1) < now_text"
    ),
    Mutant("lib/offered.lua", "sub(rank, 1, TIME_DIGITS) > now_text", "sub(rank, 1, TIME_DIGITS) < now_text"),
    Mutant("lib/offered.lua", "is_ranked = wait ~= nil", "is_ranked = wait == nil"),
    Mutant("lib/offered.lua", "is_ranked = wait ~= nil", "is_ranked = true"),
]

_KEPT: Final = [
    Mutant("lib/kept_ranks.lua", "for at = #ranks.names, 1, -1 do", "for at = #ranks.names, 2, -1 do"),
    Mutant("lib/kept_ranks.lua", "if tail and not is_asked[tail] then", "if tail and is_asked[tail] then"),
    Mutant("lib/kept_ranks.lua", "(accepted > now_text and now_text or accepted) .. LATEST or ''", "'' or ''"),
    Mutant("lib/kept_ranks.lua", "accepted > now_text and now_text or accepted", "accepted"),
    Mutant("lib/kept_ranks.lua", "if until_ms > now or cooldown > 0 then", "if cooldown > 0 then"),
    Mutant("lib/kept_ranks.lua", "if until_ms > now or cooldown > 0 then", "if until_ms > now then"),
    Mutant(
        "lib/kept_ranks.lua",
        "local values = cooldown == 0 and ranks.values_until[until_ms]",
        "local values = ranks.values_until[until_ms]",
    ),
    Mutant("lib/kept_ranks.lua", "math.max(until_ms, now + math.min(cooldown, LONGEST_WAIT_MS))", "until_ms"),
    Mutant("lib/kept_ranks.lua", "    ranks.stored[name] = stored\n", ""),
    Mutant("lib/append/late.lua", "for at = 1, #values, 2 do", "for at = 1, 0, 2 do"),
    Mutant("lib/kept_ranks.lua", "tail and (stored[tail] or at_most[tail])", "tail and stored[tail]"),
    Mutant("lib/kept_ranks.lua", "(stored[tail] or at_most[tail]) > least", "(stored[tail] or '') > least"),
    Mutant("lib/kept_ranks.lua", "(stored[tail] or at_most[tail]) > least", "(stored[tail] or at_most[tail]) < least"),
    Mutant("lib/kept_ranks.lua", "== 'c' or tonumber(sub(stored, CLIENT_END + 1, UNTIL_END)) > now", "== 'c'"),
    Mutant("lib/kept_ranks.lua", "== 'c' or tonumber(sub(stored, CLIENT_END + 1, UNTIL_END)) > now", "~= 'c'"),
    Mutant("lib/kept_ranks.lua", "UNTIL_END)) > now\nend", "UNTIL_END)) < now\nend"),
    Mutant("lib/kept_ranks.lua", "sub(stored, MARK, MARK) == 'c' or", ""),
]

_INSERT: Final = [
    Mutant("lib/insert.lua", "if ranks.stored[name] == nil then", "if ranks.stored[name] == false then"),
    Mutant("lib/insert.lua", "stored and record and sub(stored, 1, RANK_DIGITS) or rank", "rank"),
    Mutant("lib/insert.lua", "while at <= #stored do", "while at < #stored do"),
    Mutant("lib/insert.lua", "if read_lane(get(LANE, digest)) == name then", "if false then"),
    Mutant("lib/insert.lua", "if read_lane(get(LANE, digest)) == name then", "if true then"),
    Mutant(
        "lib/insert.lua",
        "return own_key and successors[own_key] == name and before or nil",
        "return own_key and before or nil",
        "the predecessor that a rank names is replaced with it; the links are read in case",
    ),
    Mutant("lib/insert.lua", "if ready[name] == nil then", "if ready[name] ~= nil then"),
    Mutant("lib/insert.lua", "> now then\n    return waits > 0 or due", "> now + 1e9 then\n  return waits > 0 or due"),
    Mutant("lib/insert.lua", "> now then\n    return waits > 0 or due", "> 0 then\n  return waits > 0 or due"),
    Mutant(
        "lib/insert.lua",
        "return waits > 0 or due\n  end",
        "return true\n  end",
        "no claim owns an event that waits: it is not due before its wait is over",
    ),
    Mutant("lib/insert.lua", "return waits > 0 or due\n  end", "return due\n  end"),
    Mutant(
        "lib/insert.lua", "== 'c' and (waits > 0 or due and due > now)", "~= 'c' and (waits > 0 or due and due > now)"
    ),
    Mutant("lib/insert.lua", "== 'c' and (waits > 0 or due and due > now)", "== 'c' and (waits > 0)"),
    Mutant("lib/insert.lua", "== 'c' and (waits > 0 or due and due > now)", "== 'c' and (due and due > now)"),
    Mutant("lib/insert.lua", "== 'c' and (waits > 0 or due and due > now)", "== 'c' and (waits > 0 or due)"),
    Mutant("lib/insert.lua", "== 'c' and (waits > 0 or due and due > now)", "== 'c'"),
    Mutant("lib/insert.lua", "other > event.rank and predecessor", "other < event.rank and predecessor"),
    Mutant("lib/insert.lua", "other <= event.rank or before", "other < event.rank or before"),
    Mutant("lib/insert.lua", "other <= event.rank or before", "before"),
    Mutant("lib/insert.lua", "before == nil or ranks.steps", "ranks.steps"),
    Mutant("lib/insert.lua", "ranks.steps > MOST_STEPS", "false"),
    Mutant("lib/insert.lua", "ranks.steps > MOST_STEPS", "ranks.steps > 3"),
    Mutant(
        "lib/insert.lua",
        "ranks.steps > MOST_STEPS then\n      return after, other > greatest and other or greatest",
        "ranks.steps > MOST_STEPS then\n      return after, other",
    ),
    Mutant(
        "lib/insert.lua",
        "ready, at) then\n      return after, other > greatest and other or greatest",
        "ready, at) then\n      return after, greatest",
    ),
    Mutant("lib/insert.lua", "elseif not may_be_overtaken(stored, ready, at) then", "elseif false then"),
    Mutant("lib/insert.lua", "== event.client or difference_ms >= CLOSE_MS", "== event.client"),
    Mutant(
        "lib/insert.lua", "== event.client or difference_ms >= CLOSE_MS", "~= event.client or difference_ms >= CLOSE_MS"
    ),
    Mutant(
        "lib/insert.lua", "== event.client or difference_ms >= CLOSE_MS", "== event.client or difference_ms > CLOSE_MS"
    ),
    Mutant("lib/insert.lua", "after, greatest = at, ''", "after = at"),
    Mutant(
        "lib/insert.lua",
        "elseif greatest == '' then\n      greatest = other",
        "else\n    greatest = other",
        "the rank is raised to that of the first one of them, then in further rounds to that of the last one",
    ),
    Mutant(
        "lib/insert.lua",
        "elseif greatest == '' then\n      greatest = other",
        "elseif greatest ~= '' then\n    greatest = other",
    ),
    Mutant("lib/insert.lua", "i == key + 1 and before", "i == key and before"),
    Mutant("lib/insert.lua", "links_text(waits + 1, successors,", "links_text(waits, successors,"),
    Mutant("lib/insert.lua", "successors, sub(ranks.stored[after], CLIENT_END + 1, UNTIL_END)", "successors, NO_WAIT"),
    Mutant(
        "lib/insert.lua", "links_text(waits, own_successors, until_text)", "links_text(waits, own_successors, NO_WAIT)"
    ),
    Mutant("lib/insert.lua", "if due_of(ready, after) then", "if false then"),
    Mutant("lib/insert.lua", "if greatest > event.rank and", "if false and"),
    Mutant("lib/insert.lua", "not (raised and raised <= greatest)", "not (raised and raised >= greatest)"),
    Mutant("lib/insert.lua", "raised, is_settled = greatest, false", "raised = greatest"),
    Mutant("lib/insert.lua", "(before ~= '' and 1 or 0)", "1"),
    Mutant("lib/insert.lua", "(before ~= '' and 1 or 0)", "(before == '' and 1 or 0)"),
    Mutant(
        "lib/insert.lua", "until_ms > now and math.min(event.until_ms, until_ms) or event.until_ms", "event.until_ms"
    ),
    Mutant(
        "lib/insert.lua",
        "until_ms > now and math.min(event.until_ms, until_ms) or event.until_ms",
        "math.min(event.until_ms, until_ms)",
    ),
    Mutant("lib/insert.lua", "if event.until_ms > now or event.mark == 'c' then", "if event.mark == 'c' then"),
    Mutant("lib/insert.lua", "if event.until_ms > now or event.mark == 'c' then", "if event.until_ms > now then"),
]

_APPEND: Final = [
    Mutant("append.lua", "if ARGV[9] ~= '' then", "if ARGV[9] == '' then"),
    Mutant(
        "append.lua",
        "    local rank, wait\n    if ranking",
        "    local rank, wait\n    is_late = false\n    if ranking",
    ),
    Mutant("append.lua", "not offered.is_clamped and offered.at(fresh[1])", "offered.at(fresh[1])"),
    Mutant("append.lua", "not offered.is_clamped and offered.at(fresh[1])", "offered.at(fresh[count])"),
    Mutant(
        "append.lua",
        "other > rank and sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS)",
        "sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS)",
        "the first comparison only avoids cutting the text",
    ),
    Mutant(
        "append.lua",
        "other > rank and sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS)",
        "other > rank",
        "an event of an equal rank is put behind the last one by insert.lua too",
    ),
    Mutant(
        "append.lua",
        "other > rank and sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS)",
        "sub(other, 1, RANK_DIGITS) >= sub(rank, 1, RANK_DIGITS)",
        "an event of an equal rank is put behind the last one by insert.lua too",
    ),
    Mutant(
        "append.lua",
        "other > rank and sub(other, 1, RANK_DIGITS) > sub(rank, 1, RANK_DIGITS)",
        "sub(other, 1, RANK_DIGITS) < sub(rank, 1, RANK_DIGITS)",
    ),
    Mutant(
        "append.lua", "is_late = is_late or #other > RANK_DIGITS and ranking.may_be_waiting(other)", "is_late = is_late"
    ),
    Mutant(
        "append.lua",
        "is_late = is_late or #other > RANK_DIGITS and ranking.may_be_waiting(other)",
        "is_late = #other > RANK_DIGITS and ranking.may_be_waiting(other)",
    ),
    Mutant(
        "append.lua",
        "is_late = is_late or #other > RANK_DIGITS and ranking.may_be_waiting(other)",
        "is_late = is_late or true",
        "insert.lua puts an event behind one that does not wait too",
    ),
    Mutant("append.lua", "local own_cooldown = wait.is_ranked and cooldown or 0", "local own_cooldown = cooldown"),
    Mutant("append.lua", "        if own_cooldown > 0 then", "        if false then"),
    Mutant("append.lua", "        if own_cooldown > 0 then", "        if true then"),
    Mutant("append.lua", "rank = sub(other, 1, RANK_DIGITS) .. sub(rank, MARK)", "rank = rank"),
    Mutant("append.lua", "tail_ranks[lane_of[own_key]] = stored", "tail_ranks[lane_of[own_key]] = tail_ranks[0]"),
    Mutant("append.lua", "due, until_text = wait.at, wait.text", "due, until_text = now, wait.text"),
    Mutant("append.lua", "due, until_text = wait.at, wait.text", "due, until_text = wait.at, NO_WAIT"),
    Mutant("append.lua", "      if waits > 0 then\n        link_count", "      if true then\n        link_count"),
    Mutant("append.lua", "          newly_due = newly_due + 1\n", ""),
    Mutant("append.lua", "if due == now then\n", "if true then\n"),
    Mutant("append.lua", "(due == now and 1 or 0)\n      ready[", "0\n      ready["),
    Mutant("append.lua", "(due == now and 1 or 0)\n      ready[", "1\n      ready["),
    Mutant("append.lua", "          ready[ready_count - 1] = due\n", "          ready[ready_count - 1] = now_text\n"),
    Mutant("lib/append/late.lua", "mark = cooldown > 0 and wait.is_ranked and 'c'", "mark = cooldown > 0 and 'c'"),
    Mutant("lib/append/late.lua", "mark = cooldown > 0 and wait.is_ranked and 'c'", "mark = false and 'c'"),
    Mutant("lib/append/late.lua", "mark = cooldown > 0 and wait.is_ranked and 'c'", "mark = wait.is_ranked and 'c'"),
    Mutant(
        "lib/append/late.lua",
        "kept_until_ms = math.max(wait.at, now + math.min(cooldown, ",
        "kept_until_ms = math.max(wait.at, math.min(cooldown, ",
    ),
    Mutant("lib/append/late.lua", "if went_before then", "if true then"),
    Mutant("lib/append/late.lua", "if event.cooldown > 0 then", "if false then"),
    Mutant("lib/append/late.lua", "if waits == 0 then", "if true then"),
    Mutant("lib/append/late.lua", "if waits == 0 then", "if waits > 0 then"),
    Mutant("lib/append/late.lua", "math.max(event.until_ms, due)", "due"),
    Mutant("lib/append/late.lua", "length >= HOT_LENGTH", "length > HOT_LENGTH"),
    Mutant("lib/append/late.lua", "if due then", "if true then"),
    Mutant("append.lua", "if #delayed + #late > 0 then", "if #delayed > 0 then"),
    Mutant("append.lua", "if #late > 0 then -- what", "if #late > 1 then -- what"),
    Mutant("append.lua", "write_staged = flush", "write_staged = #late > 1 and flush or nil"),
    Mutant("append.lua", "if #late == 0 then\n  write_table", "if true then\n  write_table"),
    Mutant("append.lua", "#late == 0 and values or {}", "values"),
    Mutant("lib/append/late.lua", "if not staged[LANE][digest] then", "if true then"),
    Mutant("lib/append/late.lua", "if not staged[LANE][digest] then", "if false then"),
]

_CLAIM: Final = [
    Mutant("claim.lua", " and sub(links_of[successor], LINKS_UNTIL, FIRST_SUCCESSOR - 1) <= now_text", ""),
    Mutant("claim.lua", "FIRST_SUCCESSOR - 1) <= now_text", "FIRST_SUCCESSOR - 1) > now_text"),
    Mutant("lib/claim/runs.lua", "and until_text <= now_text", ""),
    Mutant("lib/claim/runs.lua", "until_text <= now_text", "until_text > now_text"),
]

_ERASE: Final = [
    Mutant("erase.lua", "math.max(due, tonumber(until_text))", "due"),
    Mutant("erase.lua", "elseif stored_rank(ranks, next_name) and get(EVENT, next_name) then", "elseif false then"),
    Mutant(
        "erase.lua",
        "tonumber(passed) < tonumber(name) and get(EVENT, passed)",
        "tonumber(passed) > tonumber(name) and get(EVENT, passed)",
    ),
    Mutant("erase.lua", "local is_from_head = at == read_lane(get(LANE, digest))", "local is_from_head = true"),
    Mutant(
        "erase.lua",
        "tonumber(name) >= before_sequence and ahead + 1 or 0",
        "tonumber(name) > before_sequence and ahead + 1 or 0",
    ),
    Mutant(
        "erase.lua",
        "tonumber(name) >= before_sequence and ahead + 1 or 0",
        "tonumber(name) >= before_sequence and 999 or 0",
    ),
    Mutant(
        "erase.lua",
        "ahead > MOST_AHEAD or is_visited[name]",
        "is_visited[name]",
        "it bounds the cost; more than 200 events would have to go before one while it is erased",
    ),
    Mutant("erase.lua", "ahead > MOST_AHEAD or is_visited[name]", "ahead > 0 or is_visited[name]"),
    Mutant("erase.lua", "elseif ahead == 0 and not", "elseif not"),
]

_FINISH: Final = [
    Mutant(
        "lib/settle/finish.lua",
        "links and byte(links) > (passed[name] or 0)",
        "links and byte(links) >= (passed[name] or 0)",
    ),
    Mutant("lib/settle/finish.lua", "links and byte(links) > (passed[name] or 0)", "false"),
    Mutant("lib/settle/finish.lua", "until #blocked == 0 or finished_count == finished_before", "until true"),
    Mutant("lib/settle/finish.lua", "if waits == 0 then\n      freed", "if true then\n      freed"),
    Mutant("lib/settle/finish.lua", "waits_until[i] > now_text and tonumber(waits_until[i]) or now", "now"),
    Mutant("lib/settle/cooldowns.lua", "math.max(finish.due[i], record and", "math.max(now, record and"),
    Mutant("lib/settle/cooldowns.lua", "run and finish.cooling.run_of[digest] == run", "false"),
    Mutant("lib/settle/cooldowns.lua", "run and finish.cooling.run_of[digest] == run", "run"),
]

_SET_ASIDE: Final = [
    Mutant("lib/set_aside.lua", "math.max(due, tonumber(until_text))", "due"),
    Mutant("lib/set_aside.lua", "if head ~= name and (", "if true and ("),
    Mutant("lib/set_aside.lua", "if head ~= name and (", "if head == name and ("),
    Mutant("lib/set_aside.lua", "call('HEXISTS', EVENT, head) == 1 or", "call('HEXISTS', EVENT, head) == 0 or"),
    Mutant(
        "lib/set_aside.lua",
        "math.max(length - 1, successor == tail and 1 or 2)",
        "length - 1",
        "the stored length of a lane with missing events is never too small",
    ),
    Mutant("lib/set_aside.lua", "return length == HOT_LENGTH", "return false"),
    Mutant("lib/set_aside.lua", "return tonumber(a) < tonumber(b)", "return tonumber(a) > tonumber(b)"),
    Mutant("lib/set_aside.lua", "if waits > 0 then", "if waits > 1 then"),
    Mutant("lib/set_aside.lua", "if waits == 0 then", "if true then"),
    Mutant("lib/set_aside.lua", "math.max(waits - lanes_behind[successor], 0)", "waits - 1"),
]

MUTANTS: Final[list[Mutant]] = [
    *_RANK,
    *_NEWEST,
    *_OFFERED,
    *_KEPT,
    *_INSERT,
    *_APPEND,
    *_CLAIM,
    *_ERASE,
    *_FINISH,
    *_SET_ASIDE,
]
