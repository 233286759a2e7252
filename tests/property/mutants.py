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
    Mutant("lib/rank.lua", "if call('EXISTS', unpack(names)) > 0 then", "if call('EXISTS', unpack(names)) > 1 then"),
    Mutant("lib/rank.lua", "call('EXISTS', name) == 1 and name", "call('EXISTS', name) == 0 and name"),
    Mutant("lib/rank.lua", "now + LONGEST_WAIT_MS + RANK_GENERATION_MS, RANK", "now, RANK"),
    Mutant("lib/rank.lua", "if at and at > now then", "if at and at < now then"),
    Mutant("lib/rank.lua", "if at and at > now then", "if at and at > now - 100000000 then"),
]

_OFFERED: Final = [
    Mutant("lib/offered.lua", "text ~= '' and", "text == '' and"),
    Mutant("lib/offered.lua", "TIME_DIGITS - 1) > now_text", "TIME_DIGITS - 1) < now_text"),
    Mutant("lib/offered.lua", "sub(offered, 1, TIME_DIGITS) > now_text", "sub(offered, 1, TIME_DIGITS) < now_text"),
    Mutant("lib/offered.lua", "is_ranked = wait ~= nil", "is_ranked = wait == nil"),
    Mutant("lib/offered.lua", "is_ranked = wait ~= nil", "is_ranked = true"),
]

_INSERT: Final = [
    Mutant("lib/insert.lua", "if ranks.stored[name] == nil then", "if ranks.stored[name] == false then"),
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
    Mutant(
        "lib/insert.lua", "> now then\n    return waits > 0 or due", "> now + 1e9 then\n    return waits > 0 or due"
    ),
    Mutant("lib/insert.lua", "> now then\n    return waits > 0 or due", "> 0 then\n    return waits > 0 or due"),
    Mutant("lib/insert.lua", "return waits > 0 or due\n  end", "return true\n  end"),
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
    Mutant("lib/insert.lua", "elseif greatest == '' then\n      greatest = other", "else\n      greatest = other"),
    Mutant(
        "lib/insert.lua",
        "elseif greatest == '' then\n      greatest = other",
        "elseif greatest ~= '' then\n      greatest = other",
    ),
    Mutant("lib/insert.lua", "i == key + 1 and before", "i == key and before"),
    Mutant("lib/insert.lua", "links_text(waits + 1, successors)", "links_text(waits, successors)"),
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
    Mutant("append.lua", "has_ranks = RANKS ~= ''", "has_ranks = RANKS == ''"),
    Mutant("append.lua", "sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, 1, UNTIL_END)) > now", "true"),
    Mutant("append.lua", "sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, 1, UNTIL_END)) > now", "false"),
    Mutant(
        "append.lua",
        "sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, 1, UNTIL_END)) > now",
        "tonumber(sub(stored, 1, UNTIL_END)) > now",
    ),
    Mutant(
        "append.lua",
        "sub(stored, MARK, MARK) == 'c' or tonumber(sub(stored, 1, UNTIL_END)) > now",
        "sub(stored, MARK, MARK) == 'c'",
    ),
    Mutant("append.lua", "record and sub(record, 1, TIME_DIGITS) .. LATEST or '', false", "'', false"),
    Mutant("append.lua", "is_clamped, #late > 0", "is_clamped, false"),
    Mutant("append.lua", "if other > rank then", "if other >= rank then"),
    Mutant("append.lua", "if other > rank then", "if false then"),
    Mutant("append.lua", "is_late = is_late or last_waits[lane]", "is_late = is_late"),
    Mutant("append.lua", "is_late = is_late or last_waits[lane]", "is_late = last_waits[lane]"),
    Mutant("append.lua", "rank, is_raised = other, true", "rank, is_raised = other, false"),
    Mutant(
        "append.lua",
        "local mark = cooldown > 0 and wait.is_ranked and 'c' or '-'",
        "local mark = cooldown > 0 and 'c' or '-'",
    ),
    Mutant(
        "append.lua",
        "local mark = cooldown > 0 and wait.is_ranked and 'c' or '-'",
        "local mark = cooldown > 100000000 and 'c' or '-'",
    ),
    Mutant("append.lua", "if until_ms > now or mark == 'c' then", "if until_ms > now then"),
    Mutant("append.lua", "if until_ms > now or mark == 'c' then", "if mark == 'c' then"),
    Mutant("append.lua", "rank, until_ms > now or mark == 'c'\n", "rank, false\n"),
    Mutant("append.lua", "rank, until_ms > now or mark == 'c'\n", "rank, mark == 'c'\n"),
    Mutant("append.lua", "rank, until_ms > now or mark == 'c'\n", "rank, until_ms > now\n"),
    Mutant("append.lua", "local due = until_ms\n", "local due = now\n"),
    Mutant("append.lua", "newly_due + (due == now and 1 or 0)", "newly_due + 0"),
    Mutant("append.lua", "= due == now and now_text or due, name", "= now_text, name"),
    Mutant(
        "append.lua", "mark = cooldown > 0 and wait.is_ranked and 'c' or '-',", "mark = cooldown > 0 and 'c' or '-',"
    ),
    Mutant("append.lua", "mark = cooldown > 0 and wait.is_ranked and 'c' or '-',", "mark = '-',"),
    Mutant("append.lua", "flag_of[index] = went_before and '2' or nil", "flag_of[index] = '2'"),
    Mutant(
        "append.lua",
        "if cooldown > 0 then\n      put(COOLDOWN, name, cooldown)",
        "if false then\n      put(COOLDOWN, name, cooldown)",
    ),
    Mutant("append.lua", "if waits == 0 then\n      due_of[name]", "if true then\n      due_of[name]"),
    Mutant("append.lua", "math.max(inserted.until_ms, due_as_head", "math.max(now, due_as_head"),
    Mutant(
        "append.lua",
        "for key, length in ipairs(long) do\n      if length >= HOT_LENGTH then",
        "for key, length in ipairs(long) do\n      if false then",
    ),
    Mutant("append.lua", "    if due then\n", "    if true then\n"),
    Mutant("append.lua", "if #late > 0 then\n  insert_late()", "if #late > 1 then\n  insert_late()"),
    Mutant("append.lua", "if not staged[LANE][digest] then", "if true then"),
]

_CLAIM: Final = [
    Mutant(
        "claim.lua",
        "if #rank_names == 0 or #names == 0 then",
        "if #names == 0 then",
        "without keys of ranks, the loop over them finds no wait",
    ),
    Mutant("claim.lua", "if #rank_names == 0 or #names == 0 then", "if #rank_names >= 0 then"),
    Mutant("claim.lua", "not until_of[names[i]] and names[i] or nil", "names[i]"),
    Mutant("claim.lua", "not until_of[names[i]] and names[i] or nil", "until_of[names[i]] and names[i] or nil"),
]

_ERASE: Final = [
    Mutant("erase.lua", "math.max(due, waits_until(rank_names, { name })[name] or 0)", "due"),
    Mutant("erase.lua", "elseif stored_rank(ranks, next_name) and get(EVENT, next_name) then", "elseif false then"),
    Mutant(
        "erase.lua",
        "tonumber(passed) < tonumber(name) and get(EVENT, passed)",
        "tonumber(passed) > tonumber(name) and get(EVENT, passed)",
        "a search that begins behind the event comes to the end of the lane, and begins again at its head",
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
    Mutant("erase.lua", "ahead > MOST_AHEAD or is_visited[name]", "is_visited[name]"),
    Mutant("erase.lua", "elseif ahead == 0 and (", "elseif true and ("),
]

_FINISH: Final = [
    Mutant(
        "lib/finish.lua", "links and byte(links) > (passed[name] or 0)", "links and byte(links) >= (passed[name] or 0)"
    ),
    Mutant("lib/finish.lua", "links and byte(links) > (passed[name] or 0)", "false"),
    Mutant("lib/finish.lua", "until #blocked == 0 or finished_count == finished_before", "until true"),
    Mutant("lib/finish.lua", "if waits == 0 then\n      freed", "if true then\n      freed"),
    Mutant(
        "lib/finish.lua", "math.max(now + (cooldowns[i] or 0), until_of[freed[i]] or 0)", "now + (cooldowns[i] or 0)"
    ),
    Mutant(
        "lib/finish.lua", "math.max(now + (cooldowns[i] or 0), until_of[freed[i]] or 0)", "until_of[freed[i]] or now"
    ),
]

_SET_ASIDE: Final = [
    Mutant("lib/set_aside.lua", "math.max(due, waits_until(rank_names, { successor })[successor] or 0)", "due"),
    Mutant("lib/set_aside.lua", "if head ~= name and (", "if true and ("),
    Mutant("lib/set_aside.lua", "if head ~= name and (", "if head == name and ("),
    Mutant("lib/set_aside.lua", "call('HEXISTS', EVENT, head) == 1 or", "call('HEXISTS', EVENT, head) == 0 or"),
    Mutant("lib/set_aside.lua", "math.max(length - 1, successor == tail and 1 or 2)", "length - 1"),
    Mutant("lib/set_aside.lua", "return length == HOT_LENGTH", "return false"),
    Mutant("lib/set_aside.lua", "return tonumber(a) < tonumber(b)", "return tonumber(a) > tonumber(b)"),
    Mutant("lib/set_aside.lua", "if waits > 0 then", "if waits > 1 then"),
    Mutant("lib/set_aside.lua", "if waits == 0 then", "if true then"),
    Mutant("lib/set_aside.lua", "math.max(waits - lanes_behind[successor], 0)", "waits - 1"),
]

MUTANTS: Final[list[Mutant]] = [*_RANK, *_OFFERED, *_INSERT, *_APPEND, *_CLAIM, *_ERASE, *_FINISH, *_SET_ASIDE]
