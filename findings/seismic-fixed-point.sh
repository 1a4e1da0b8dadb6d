#!/usr/bin/env bash
# pyseismic-lsr 0.5.4: an index with the compressed forward index (SeismicIndexDotVByte) keeps values as fixed-point numbers
# of 8 bits, 6 of them behind the point. A value above 255/64 = 3.984375 becomes 3.984375, with no error or warning, so
# documents whose weights are whole numbers from 1 to 255 all but lose their ranking. The same weights divided by 64 are kept
# exactly. The plain index (SeismicIndex) keeps both.
#
# Needs bash, Python 3.11 with pip, and a package index. Uses pyseismic-lsr and NumPy alone. Fails if any of this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --target "$folder/packages" \
    numpy==2.2.6 2>/dev/null
"$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --target "$folder/packages" \
    pyseismic-lsr==0.5.4 2>/dev/null

cat >"$folder/seen.py" <<'EOF'
import numpy as np
from seismic import SeismicDataset, SeismicIndex, SeismicIndexDotVByte, get_seismic_string

rng = np.random.default_rng(0)
documents, terms, held = 2000, 500, 40
rows = np.stack([np.sort(rng.choice(terms, held, replace=False)) for _ in range(documents)])
weights = rng.integers(1, 256, rows.shape).astype(np.float32)
matrix = np.zeros((documents, terms), np.float32)
np.put_along_axis(matrix, rows, weights, axis=1)
queries = [(np.sort(rng.choice(terms, 10, replace=False)), rng.integers(1, 256, 10)) for _ in range(100)]
names = np.arange(terms).astype(get_seismic_string())
ends = np.arange(0, rows.size + 1, held).astype(np.int64)

for kind in (SeismicIndex, SeismicIndexDotVByte):
    for divisor in (1, 64):
        dataset = SeismicDataset()
        values = (weights / divisor).ravel()
        dataset.add_documents_by_id([str(row) for row in range(documents)], rows.ravel().astype(np.int64), values, ends)
        # No list is cut short and no block passed over: the search is exact but for what the forward index keeps.
        index = kind.build_from_dataset(dataset, n_postings=4000, num_threads=1)
        found = largest = 0.0
        for asked, weight in queries:
            exact = matrix[:, asked] @ weight.astype(np.float32)
            hits = index.search("0", names[asked], weight.astype(np.float32), k=10, query_cut=10, heap_factor=0.0)
            found += sum(exact[int(hit[2])] >= np.sort(exact)[-10] for hit in hits) / 10
            largest = max(largest, max(hit[1] / weight.sum() for hit in hits))
        told = f"recall@10 {found / len(queries):.2f}, largest score by the sum of query weights {largest:.2f}"
        print(f"SEEN {kind.__name__}, weights divided by {divisor}: {told}")
EOF

PYTHONPATH="$folder/packages" "$python" "$folder/seen.py" 2>/dev/null | sed -n 's/^SEEN //p' | tee "$folder/seen"
grep -q 'SeismicIndex, weights divided by 1: recall@10 1.00' "$folder/seen"
grep -q 'SeismicIndex, weights divided by 64: recall@10 1.00' "$folder/seen"
grep -q 'SeismicIndexDotVByte, weights divided by 64: recall@10 1.00' "$folder/seen"
grep -Eq 'SeismicIndexDotVByte, weights divided by 1: recall@10 0\.[0-6].*weights [0-3]\.' "$folder/seen"
echo "as described"
