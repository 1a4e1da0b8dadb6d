#!/usr/bin/env bash
# ir-measures 0.4.3: ERR@k and nDCG(dcg='exp-log2')@k are computed by a script that cuts a query's id at its last hyphen. Of
# the queries a-1 and a-2 the values come back under the ids 1 and 2, and a-1 and a-2 themselves get 0: the mean is half of
# what the same rankings have under ids without a hyphen. Other measures are not concerned (nDCG@k, say).
#
# Needs bash, Perl, Python 3.11 with pip, and a package index. Uses ir-measures alone. Fails if any of this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --target "$folder/packages" ir-measures==0.4.3 2>/dev/null

cat >"$folder/seen.py" <<'EOF'
import ir_measures
from ir_measures import ERR, nDCG

for ids in (("1", "2"), ("a-1", "a-2")):
    first, second = ids
    judged = [ir_measures.Qrel(name, document, grade) for name in ids for document, grade in (("x", 1), ("y", 2))]
    ranked = [ir_measures.ScoredDoc(first, "x", 2.0), ir_measures.ScoredDoc(first, "y", 1.0),
              ir_measures.ScoredDoc(second, "y", 2.0), ir_measures.ScoredDoc(second, "x", 1.0)]
    for measure in (ERR @ 10, nDCG(dcg="exp-log2") @ 10, nDCG @ 10):
        mean = ir_measures.calc_aggregate([measure], judged, ranked)[measure]
        each = sorted((one.query_id, round(one.value, 4)) for one in ir_measures.iter_calc([measure], judged, ranked))
        print(*ids, measure, f"mean {mean:.4f}", each)
EOF

cat >"$folder/expected" <<'EOF'
1 2 ERR@10 mean 0.1816 [('1', 0.1504), ('2', 0.2129)]
1 2 nDCG(dcg='exp-log2')@10 mean 0.8984 [('1', 0.7967), ('2', 1.0)]
1 2 nDCG@10 mean 0.9299 [('1', 0.8597), ('2', 1.0)]
a-1 a-2 ERR@10 mean 0.0908 [('1', 0.1504), ('2', 0.2129), ('a-1', 0.0), ('a-2', 0.0)]
a-1 a-2 nDCG(dcg='exp-log2')@10 mean 0.4492 [('1', 0.7967), ('2', 1.0), ('a-1', 0.0), ('a-2', 0.0)]
a-1 a-2 nDCG@10 mean 0.9299 [('a-1', 0.8597), ('a-2', 1.0)]
EOF

PYTHONPATH="$folder/packages" "$python" "$folder/seen.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
