"""The search kernel: top-k by adding up the lists that decide, and looking others up for the few rows they concern.

Rows are cut into windows of `2**window_bits`, so that the scores of a window stay in the processor's second-level cache
while postings are added up (about a nanosecond each). Term-at-a-time evaluation into an array of accumulators is the
oldest there is (Moffat and Zobel, "Self-indexing inverted files for fast text retrieval", TOIS 1996). Which lists are
added up is MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", IPM 1995), window by window:

1. Of each list the greatest impact in the window is known. `bound` is the most that the lists which have not been added
   up yet can give to one row. Lists are added up in the order of what each takes off the bound per posting, short lists
   of heavy terms first, until the bound is .4 of the threshold, the k-th score so far. (At the whole of it a row in
   none of the lists would be out, but of those in one of them most would still be in.)
2. Rows whose score cannot exceed the threshold even with the whole bound are out. The others, some tens a window, get
   what they lack list by list, the heaviest first, and drop out as the bound falls. A list is looked up for them, from
   a guessed place on, or added up after all, whichever costs less; so a search never does much more than read all.

In a window of few postings an exact search reads everything: that costs less than choosing.

While the heap fills, in the first window, the k-th best of the partial scores serves as a threshold instead.

Approximate search scales the bound by a `slack` below 1, as no row attains all maxima at once (block-max pruning does
the same with its alpha: Mallia, Suel and Tonellotto, "Faster learned sparse retrieval with block-max pruning", SIGIR
2024).
The scores of the rows that it finds are exact; with a slack of 1 so is the result. Scores and bounds are integers below
2**31 (`Query.from_weights`; a bound adds the same weights times at most 255) in 64 bits, and slack is at most 2**10, so
nothing overflows.

A filter is consulted where rows become candidates. Where it leaves few rows in a window, those are the candidates from
the beginning, and of the lists that are read only their postings are added up, the others passed over eight at a time;
lists for which looking these rows up costs less are left for later.

The kernel trusts the directory (term starts, entries, their maxima), which is checksummed when an index is opened, and
nothing else: whatever bytes stand in `rows` and `impacts`, it reads and writes inside its arrays, because the
accumulator has a place for every 16-bit row and rows past the last are skipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexhound.index.jit import Integer, kernel

ACCUMULATOR_SIZE = 1 << 16
"""One place for each value that a 16-bit row can take, whatever the window size."""

WORKSPACE_ROWS = 8
"""Rows of the int64 workspace `lists` of `search_windows`; each has one place per query term."""

EXACT_SLACK = 1 << 10
"""Slack is counted in these parts: so much means that bounds count in full."""

# What those rows hold. Of each query term that the index knows:
_CURSOR = 0  # its next entry in the directory
_LAST = 1  # the end of its entries
_WEIGHT = 2  # its integer weight in the query
# and, packed, of each of them that has postings in the present window:
_START = 3  # its first posting there
_STOP = 4  # the end of them
_FACTOR = 5  # its integer weight again
_TOP = 6  # the most that it adds to a score
_ORDER = 7  # not of a list: the lists in the order in which they are read

# A hit travels as one int64: its score (31 bits) above 2**32 - 1 - row, so that a greater key is a better hit.
_ROW_MASK = (1 << 32) - 1

# Rows per step of the scan. A step is one maximum over int32s, which the compiler turns into vector instructions:
# 256 took 1.4 microseconds for 16,384 rows, 64 took 2.2.
_CHUNK = 256
_STRIP = 32  # of a chunk that holds something

# A window of whose rows less than one in so many was touched is read back posting by posting instead of being scanned.
_SPARSE_SHARE = 16

# Looking a row up in a list costs what adding up so many postings does: binary search misses the cache.
_LOOK_UP_COST = 32

# How far from the guessed place a look-up looks first.
_NEAR = 16

# Lists are added up until the bound is this share (in 1,024ths) of the threshold. Estimated nanoseconds a window, from
# counts over BM25 vectors of 300,000 passages with a look-up at 15 ns: 9,955 at the whole threshold, 5,772 at .7, 5,889
# at .5, 6,751 at .35, 10,057 with every list; over learned vectors with inference-free queries 15,538, 9,890, 8,396,
# 9,421, 73,215; with expanded queries 16,270 at .7, then 13,159, 13,533, 44,240. Look-ups turned out dearer, hence .4.
# Lists cut into tiers by impact gave smaller bounds and saved nothing in any of the three.
_ENOUGH = 410

# In a window with fewer postings than this share of its rows, in eighths, exact search reads them all: ordering lists
# and looking for candidates costs what adding up some thousands of postings does. (BM25, 300,000 passages, 8,600
# postings a window: 137 microseconds a question in the median with all of them, 157 with what pruning leaves, 45,375
# of 84,817.)
_PLAIN_EIGHTHS = 3

# Where a filter leaves less than one row in so many of a window, few of the touched rows can be hits. So only lists
# are added up that are shorter than looking all the allowed rows up takes, and only until the bound is the whole
# threshold; then the allowed rows are the candidates, instead of the touched.
_SELECTIVE_SHARE = 16

# Postings read in the first window before its partial scores are looked at for a threshold, and again after twice that.
_FIRST_LOOK = 4096


@kernel
def find_term(terms: NDArray[np.uint32], term: int) -> int:
    """Where `term` stands in the ascending `terms`, or -1. Binary search."""
    at, span = 0, len(terms)
    while span > 1:  # as often for every term and without another branch, so that searches run side by side
        half = span >> 1
        at += half if terms[at + half] <= term else 0
        span -= half
    if span == 1 and terms[at] == term:
        return at
    return -1


@kernel
def sink(heap: NDArray[np.int64], size: Integer, key: Integer) -> None:
    """Replace the root of the min-heap `heap[:size]` by `key` and restore its order."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if key <= heap[child]:
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = key


@kernel
def offer(heap: NDArray[np.int64], size: Integer, score: Integer, row: Integer) -> Integer:
    """Offer a hit to a min-heap that keeps the best `len(heap)` of them, in any order; returns its new size."""
    key = (score << 32) | (_ROW_MASK - row)
    if size == len(heap):
        if key > heap[0]:
            sink(heap, size, key)
        return size
    hole = size
    while hole > 0:
        parent = (hole - 1) >> 1
        if heap[parent] <= key:
            break
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = key
    return size + 1


@kernel
def gather_allowed(allowed: NDArray[np.bool_], most: Integer, candidates: NDArray[np.int32]) -> Integer:
    """Write the true places of a mask into `candidates[0]`, ascending; returns how many, or above `most`: some number.

    allowed begins at a multiple of 8 bytes where it has 8 or more; candidates: int32[2, 65536], `most` at most 65,528.
    Eight rows at a time: a selective mask is nearly all zeros.
    """
    found: Integer = 0
    whole = len(allowed) >> 5 << 2
    words = allowed[: whole << 3].view(np.uint64)
    rest = whole << 3
    for four in range(0, whole, 4):
        if words[four] | words[four + 1] | words[four + 2] | words[four + 3] == 0:
            continue
        for at in range(four, four + 4):
            if words[at] != 0:
                if found + 8 > most:  # maybe too many: from here on one by one
                    rest = at << 3
                    break
                left = at << 3
                for i in range(8):  # without a branch that could be mispredicted
                    candidates[0, found] = left + i
                    found += np.int64(allowed[left + i])
        if rest < whole << 3:
            break
    for i in range(rest, len(allowed)):
        if allowed[i]:
            if found == most:
                return most + 1
            candidates[0, found] = i
            found += 1
    return found


@kernel
def look_up(
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    lists: NDArray[np.int64],
) -> int:
    """Fill the first three rows of `lists` with the query terms that the index knows; returns how many."""
    known = 0
    for i in range(len(query_terms)):
        at = find_term(terms, query_terms[i])
        if at >= 0:
            lists[_CURSOR, known] = entry_starts[at]
            lists[_LAST, known] = entry_starts[at + 1]
            lists[_WEIGHT, known] = query_weights[i]
            known += 1
    return known


@kernel
def next_window(known: int, entry_windows: NDArray[np.uint16], lists: NDArray[np.int64]) -> Integer:
    """The lowest window in which a query term still has postings, or -1."""
    window: Integer = -1
    for j in range(known):
        if lists[_CURSOR, j] < lists[_LAST, j]:
            ahead = np.int64(entry_windows[lists[_CURSOR, j]])
            if window < 0 or ahead < window:
                window = ahead
    return window


@kernel
def enter_window(
    window: Integer,
    known: int,
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    entry_maxima: NDArray[np.uint8],
    lists: NDArray[np.int64],
    priorities: NDArray[np.float64],
) -> tuple[int, Integer, Integer]:
    """Fill the last rows of `lists` with the terms of `window`; returns how many, their postings, and the bound.

    Steps past their entries. priorities float64[as wide as lists]: written: what a list takes off the bound a posting.
    """
    active = 0
    postings: Integer = 0
    bound: Integer = 0
    for j in range(known):
        entry = lists[_CURSOR, j]
        if entry < lists[_LAST, j] and entry_windows[entry] == window:
            start = np.int64(entry_ends[entry - 1]) if entry > 0 else 0
            stop = np.int64(entry_ends[entry])
            top = lists[_WEIGHT, j] * np.int64(entry_maxima[entry])
            lists[_START, active] = start
            lists[_STOP, active] = stop
            lists[_FACTOR, active] = lists[_WEIGHT, j]
            lists[_TOP, active] = top
            lists[_ORDER, active] = active
            lists[_CURSOR, j] = entry + 1
            priorities[active] = top / (stop - start)
            postings += stop - start
            bound += top
            active += 1
    return active, postings, bound


@kernel
def order_by(keys: NDArray[np.float64], order: NDArray[np.int64]) -> None:
    """Sort `order` by falling `keys[order[i]]`, of equal ones the lower number first. Shell's sort, in place."""
    gap = 1
    while gap < len(order) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, len(order)):
            moved = order[i]
            key = keys[moved]
            hole = i
            while hole >= gap:
                before = order[hole - gap]
                if keys[before] > key or (keys[before] == key and before < moved):
                    break
                order[hole] = before
                hole -= gap
            order[hole] = moved
        gap //= 3


@kernel
def accumulate(
    factor: np.int32, rows: NDArray[np.uint16], impacts: NDArray[np.uint8], accumulator: NDArray[np.int32]
) -> None:
    """Add a list's postings of a window to the scores of their rows."""
    for i in range(len(rows)):
        accumulator[rows[i]] += factor * np.int32(impacts[i])


@kernel
def accumulate_flagged(
    factor: np.int32,
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    accumulator: NDArray[np.int32],
) -> None:
    """`accumulate`, only for rows whose flag is 1 and not 0, which are few: eight rows are passed over at a time."""
    whole = len(rows) & -8
    for left in range(0, whole, 8):
        some = (
            flags[rows[left]]
            | flags[rows[left + 1]]
            | flags[rows[left + 2]]
            | flags[rows[left + 3]]
            | flags[rows[left + 4]]
            | flags[rows[left + 5]]
            | flags[rows[left + 6]]
            | flags[rows[left + 7]]
        )
        if some:
            for i in range(left, left + 8):
                accumulator[rows[i]] += factor * np.int32(impacts[i] * flags[rows[i]])
    for i in range(whole, len(rows)):
        accumulator[rows[i]] += factor * np.int32(impacts[i] * flags[rows[i]])


@kernel
def clear(rows: NDArray[np.uint16], accumulator: NDArray[np.int32]) -> None:
    """Set the scores of these rows to zero."""
    for i in range(len(rows)):
        accumulator[rows[i]] = 0


@kernel
def greatest(scores: NDArray[np.int32]) -> np.int32:
    """The greatest of some scores, 0 at least; vectorised."""
    best = np.int32(0)
    for i in range(len(scores)):
        best = max(best, scores[i])
    return best


@kernel
def threshold_of(
    heap: NDArray[np.int64],
    size: Integer,
    accumulator: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    filtered: bool,
    limit: Integer,
    trial: NDArray[np.int64],
) -> Integer:
    """A score that rows must exceed, from the scores so far of a window; 0 where that tells nothing.

    One less than the k-th best of the hits in `heap[:size]` and of the (partial) scores of the window's rows: at least
    k rows will have that score, so lower ones are out. allowed: bool[limit], read only when `filtered`. trial:
    int64[k], used up.
    """
    trial[:size] = heap[:size]
    taken: Integer = size
    least = np.int64(1)
    for left in range(0, limit, _CHUNK):
        chunk = accumulator[left : min(left + _CHUNK, limit)]
        if greatest(chunk) < least:
            continue
        for near in range(0, len(chunk), _STRIP):
            strip = chunk[near : near + _STRIP]
            if greatest(strip) < least:
                continue
            for i in range(len(strip)):
                score = np.int64(strip[i])
                if score >= least and (not filtered or allowed[left + near + i]):
                    taken = offer(trial, taken, score, 0)
                    if taken == len(trial):
                        least = (trial[0] >> 32) + 1
    return (trial[0] >> 32) - 1 if taken == len(trial) else 0


@kernel
def touched_candidates(
    read: int,
    lists: NDArray[np.int64],
    rows: NDArray[np.uint16],
    accumulator: NDArray[np.int32],
    least: Integer,
    allowed: NDArray[np.bool_],
    filtered: bool,
    limit: Integer,
    candidates: NDArray[np.int32],
) -> int:
    """Collect the rows of the first `read` lists that score at least `least`, and clear the scores of all of them.

    candidates int32[2, 65536]: rows and scores, written; returns how many.
    """
    found = 0
    for y in range(read):
        at = lists[_ORDER, y]
        for i in range(lists[_START, at], lists[_STOP, at]):
            row = np.int64(rows[i])
            score = accumulator[row]
            accumulator[row] = 0
            if score >= least and row < limit and (not filtered or allowed[row]):
                candidates[0, found] = row
                candidates[1, found] = score
                found += 1
    return found


@kernel
def scanned_candidates(
    accumulator: NDArray[np.int32],
    least: Integer,
    allowed: NDArray[np.bool_],
    filtered: bool,
    limit: Integer,
    candidates: NDArray[np.int32],
) -> int:
    """Collect the rows of a window that score at least `least`, and clear it.

    accumulator: int32[rows of a window]: to its end, past the last row, as damaged rows there must not be left for
    another index. candidates as for `touched_candidates`.
    """
    found = 0
    for left in range(0, len(accumulator), _CHUNK):
        chunk = accumulator[left : left + _CHUNK]
        if greatest(chunk) >= least:
            for near in range(0, len(chunk), _STRIP):
                strip = chunk[near : near + _STRIP]
                if greatest(strip) >= least:
                    for i in range(len(strip)):
                        row = left + near + i
                        if strip[i] >= least and row < limit and (not filtered or allowed[row]):
                            candidates[0, found] = row
                            candidates[1, found] = strip[i]
                            found += 1
        chunk[:] = 0
    return found


@kernel
def scoring_candidates(
    accumulator: NDArray[np.int32],
    flags: NDArray[np.uint8],
    least: Integer,
    candidates: NDArray[np.int32],
    found: Integer,
) -> Integer:
    """Give the candidates that `gather_allowed` found their scores, and drop those below `least`; how many are left.

    A `least` of 0 or below keeps rows that no list has touched yet. Their scores and flags are zero afterwards.
    """
    left: Integer = 0
    for c in range(found):
        row = candidates[0, c]
        score = accumulator[row]
        accumulator[row] = 0
        flags[row] = 0
        if score >= least:
            candidates[0, left] = row
            candidates[1, left] = score
            left += 1
    return left


@kernel
def threshold_of_candidates(
    heap: NDArray[np.int64], size: Integer, candidates: NDArray[np.int32], found: Integer, trial: NDArray[np.int64]
) -> Integer:
    """`threshold_of` for the (partial) scores of candidates, which are all allowed."""
    if size + found < len(trial):
        return 0
    trial[:size] = heap[:size]
    taken: Integer = size
    for c in range(found):
        taken = offer(trial, taken, np.int64(candidates[1, c]), 0)
    least: Integer = (trial[0] >> 32) - 1
    return max(0, least)


@kernel
def complete(
    factor: np.int32,
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    accumulator: NDArray[np.int32],
    candidates: NDArray[np.int32],
    found: Integer,
    above: Integer,
    window_bits: int,
) -> tuple[Integer, Integer]:
    """Add a list to the scores of the candidates and drop those that stay at `above` or below.

    rows, impacts: the list in the window, of at least one posting, rows ascending. Returns how many candidates are left
    and how many postings were read.
    """
    left = 0
    if found * _LOOK_UP_COST > len(rows):
        accumulate(factor, rows, impacts, accumulator)
        for c in range(found):
            row = candidates[0, c]
            score = candidates[1, c] + accumulator[row]
            if score > above:
                candidates[0, left] = row
                candidates[1, left] = score
                left += 1
        clear(rows, accumulator)
        return left, len(rows)
    for c in range(found):
        row = candidates[0, c]
        # Rows are spread over their window, so a guess is some tens of places off, and the search stays in a line or
        # two of the cache, where halving the whole list would fetch one after another.
        at = min(len(rows) - 1, (row * len(rows)) >> window_bits)
        span = _NEAR
        if rows[at] <= row:
            while at + span < len(rows) and rows[at + span] <= row:
                at += span
                span <<= 1
            span = min(span, len(rows) - at)
        else:
            while at > span and rows[at - span] > row:
                at -= span
                span <<= 1
            span = min(span, at)
            at -= span
        while span > 1:  # without a branch that could be mispredicted
            half = span >> 1
            at += half if rows[at + half] <= row else 0
            span -= half
        score = candidates[1, c]
        if rows[at] == row:
            score += factor * np.int32(impacts[at])
        if score > above:
            candidates[0, left] = row
            candidates[1, left] = score
            left += 1
    return left, found


@kernel
def search_windows(
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    entry_maxima: NDArray[np.uint8],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    n_rows: int,
    window_bits: int,
    allowed: NDArray[np.bool_],
    filtered: bool,
    slack: int,
    above: int,
    unit: float,
    accumulator: NDArray[np.int32],
    flags: NDArray[np.uint8],
    candidates: NDArray[np.int32],
    lists: NDArray[np.int64],
    priorities: NDArray[np.float64],
    heap: NDArray[np.int64],
    trial: NDArray[np.int64],
    out_rows: NDArray[np.int64],
    out_scores: NDArray[np.float64],
    stats: NDArray[np.int64],
) -> Integer:
    """The best `len(heap)` rows for a query; returns how many there are. O(postings of its terms + rows), mostly less.

    query_terms int32[m], query_weights int32[m]: see `Query`. The index's arrays: see `layout`. allowed: bool[n_rows],
    read only when `filtered`, and then beginning at a multiple of 8 bytes. slack: 1 to 1,024, which is exact. above:
    rows of at most this integer score are of no interest. unit: what a score of 1 is worth. accumulator: int32[65536]
    and flags: uint8[65536], zero, and zero again afterwards where windows of this size are looked at. candidates:
    int32[2, 65536], lists: int64[8, m], priorities: float64[m], heap, trial: int64[k] with k >= 1, out_rows: int64[k],
    out_scores: float64[k]: written. stats: int64[2], incremented by the postings read and by the rows that were good
    enough to be offered to the heap.
    """
    known = look_up(terms, entry_starts, query_terms, query_weights, lists)
    size: Integer = 0
    width = 1 << window_bits
    while True:
        window = next_window(known, entry_windows, lists)
        if window < 0:
            break
        base = window << window_bits
        limit = min(width, n_rows - base)
        active, postings, bound = enter_window(
            window, known, entry_windows, entry_ends, entry_maxima, lists, priorities
        )
        # Windows ascend, so a row of this one that ties with the k-th hit comes after it.
        threshold = max(above, heap[0] >> 32) if size == len(heap) else above
        if (bound * slack) >> 10 <= threshold:
            continue
        permitted = allowed[base : base + limit] if filtered else allowed
        found: Integer = 0
        selective = False
        if filtered:
            found = gather_allowed(permitted, limit // _SELECTIVE_SHARE, candidates)
            if found == 0:
                continue
            if found <= limit // _SELECTIVE_SHARE:
                selective = True
        order_by(priorities[:active], lists[_ORDER, :active])

        done = 0
        read: Integer = 0
        if selective:
            most = found * _LOOK_UP_COST
            for c in range(found):
                flags[candidates[0, c]] = 1
            while done < active and (bound * slack) >> 10 > threshold:
                at = lists[_ORDER, done]
                start, stop = lists[_START, at], lists[_STOP, at]
                if stop - start > most:
                    break
                accumulate_flagged(
                    np.int32(lists[_FACTOR, at]), rows[start:stop], impacts[start:stop], flags, accumulator
                )
                read += stop - start
                bound -= lists[_TOP, at]
                done += 1
            stats[0] += read
            least = threshold + 1 - ((bound * slack) >> 10)
            found = scoring_candidates(
                accumulator, flags, max(1, least) if done == active else least, candidates, found
            )
        else:
            look: Integer = _FIRST_LOOK
            plain = slack == EXACT_SLACK and postings * 8 < width * _PLAIN_EIGHTHS
            enough = 0 if plain else _ENOUGH
            while done < active and (bound * slack) >> 10 > (threshold * enough) >> 10:
                at = lists[_ORDER, done]
                start, stop = lists[_START, at], lists[_STOP, at]
                accumulate(np.int32(lists[_FACTOR, at]), rows[start:stop], impacts[start:stop], accumulator)
                read += stop - start
                bound -= lists[_TOP, at]
                done += 1
                if read >= look and size < len(heap) and done < active:
                    threshold = max(threshold, threshold_of(heap, size, accumulator, permitted, filtered, limit, trial))
                    look = 2 * read
            stats[0] += read
            if done == active and read * _SPARSE_SHARE >= width:
                # Everything has been read: the scan offers what it finds, with a threshold that rises as it goes.
                least = threshold + 1
                for left in range(0, width, _CHUNK):
                    chunk = accumulator[left : left + _CHUNK]
                    if greatest(chunk) >= least:
                        for near in range(0, len(chunk), _STRIP):
                            strip = chunk[near : near + _STRIP]
                            if greatest(strip) < least:
                                continue
                            for i in range(len(strip)):
                                score = np.int64(strip[i])
                                place = left + near + i
                                if score >= least and place < limit and (not filtered or permitted[place]):
                                    size = offer(heap, size, score, base + place)
                                    if size == len(heap):  # a later row needs more than the k-th score, not as much
                                        least = max(least, (heap[0] >> 32) + 1)
                                    stats[1] += 1
                    chunk[:] = 0
                continue
            least = max(1, threshold + 1 - ((bound * slack) >> 10))
            if read * _SPARSE_SHARE < width:
                found = touched_candidates(
                    done, lists, rows, accumulator, least, permitted, filtered, limit, candidates
                )
            else:
                found = scanned_candidates(accumulator[:width], least, permitted, filtered, limit, candidates)

        if done < active and found > 0:
            for i in range(active):
                priorities[i] = lists[_TOP, i]
            order_by(priorities[:active], lists[_ORDER, done:active])
            for y in range(done, active):
                at = lists[_ORDER, y]
                start, stop = lists[_START, at], lists[_STOP, at]
                if selective and size < len(heap):
                    threshold = max(threshold, threshold_of_candidates(heap, size, candidates, found, trial))
                bound -= lists[_TOP, at]
                found, read = complete(
                    np.int32(lists[_FACTOR, at]),
                    rows[start:stop],
                    impacts[start:stop],
                    accumulator,
                    candidates,
                    found,
                    threshold - ((bound * slack) >> 10),
                    window_bits,
                )
                stats[0] += read
                if found == 0:
                    break
        for c in range(found):
            score = np.int64(candidates[1, c])
            if score > threshold:
                size = offer(heap, size, score, base + np.int64(candidates[0, c]))
                stats[1] += 1

    # Empty the heap from its worst hit to its best.
    for left in range(size, 0, -1):
        key = heap[0]
        out_rows[left - 1] = _ROW_MASK - (key & _ROW_MASK)
        out_scores[left - 1] = np.float64(key >> 32) * unit
        sink(heap, left - 1, heap[left - 1])
    return size


@kernel
def search_batch(
    query_starts: NDArray[np.int64],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.int32],
    terms: NDArray[np.uint32],
    entry_starts: NDArray[np.uint32],
    entry_windows: NDArray[np.uint16],
    entry_ends: NDArray[np.uint32],
    entry_maxima: NDArray[np.uint8],
    rows: NDArray[np.uint16],
    impacts: NDArray[np.uint8],
    n_rows: int,
    window_bits: int,
    allowed: NDArray[np.bool_],
    filtered: bool,
    slack: int,
    above: NDArray[np.int64],
    units: NDArray[np.float64],
    accumulator: NDArray[np.int32],
    flags: NDArray[np.uint8],
    candidates: NDArray[np.int32],
    lists: NDArray[np.int64],
    priorities: NDArray[np.float64],
    heap: NDArray[np.int64],
    trial: NDArray[np.int64],
    out_rows: NDArray[np.int64],
    out_scores: NDArray[np.float64],
    stats: NDArray[np.int64],
    hits: NDArray[np.int64],
) -> None:
    """`search_windows` for several queries, one after the other, without coming back to Python in between.

    The terms and weights of query i stand at query_starts[i]:query_starts[i + 1]; above int64[b], units float64[b];
    lists and priorities as wide as the longest query. out_rows int64[b, k], out_scores float64[b, k], hits int64[b]:
    written. The rest as there.
    """
    for i in range(len(hits)):
        start, stop = query_starts[i], query_starts[i + 1]
        hits[i] = search_windows(
            query_terms[start:stop],
            query_weights[start:stop],
            terms,
            entry_starts,
            entry_windows,
            entry_ends,
            entry_maxima,
            rows,
            impacts,
            n_rows,
            window_bits,
            allowed,
            filtered,
            slack,
            above[i],
            units[i],
            accumulator,
            flags,
            candidates,
            lists,
            priorities,
            heap,
            trial,
            out_rows[i],
            out_scores[i],
            stats,
        )
