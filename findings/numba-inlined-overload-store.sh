#!/usr/bin/env bash
# numba 0.68.1: a serial function that calls an overload made with inline='always' loses stores into an array that is a
# field of a named tuple, where the tuple was made inside of the function. No warning; without inlining, or with the field
# in a local variable first, the same function is right. The parallel target is known to do so; this one has no parallel
# loop. (Inlining runs the same removal of dead code, which does not see that the field is an array of the caller's.)
#
# Needs bash, Python 3.11 with pip, and a package index. Uses numba and numpy alone. Fails if this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --target "$folder/packages" \
    numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6 2>/dev/null

cat >"$folder/seen.py" <<'EOF'
import sys
from typing import NamedTuple

import numba
import numpy as np
from numba.extending import overload


class State(NamedTuple):
    marks: np.ndarray
    mark: int


def look(array, at): ...


@overload(look, inline=sys.argv[1])
def compiled_look(array, at):
    def read(array, at):
        array[at]

    return read


def count_places(order, fields, array):
    state = State(*fields)
    new = 0
    for place in order:
        if state.marks[place] == state.mark:
            continue
        state.marks[place] = state.mark
        new += 1
        for i in range(1):
            look(array, i)
    return new


for name, function in (("Python", count_places), ("compiled", numba.njit(count_places))):
    marks = np.zeros(2, np.int64)
    count = function(np.array([0, 0, 1]), (marks, 1), np.zeros(1))
    print(f"inline={sys.argv[1]}, {name}: {count} places, marks {marks.tolist()}")
EOF

cat >"$folder/expected" <<'EOF'
inline=never, Python: 2 places, marks [1, 1]
inline=never, compiled: 2 places, marks [1, 1]
inline=always, Python: 2 places, marks [1, 1]
inline=always, compiled: 3 places, marks [0, 0]
EOF

for inline in never always; do
    PYTHONPATH="$folder/packages" "$python" "$folder/seen.py" "$inline"
done | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
