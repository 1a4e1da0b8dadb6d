#!/usr/bin/env bash
# PyStemmer 2.2.0.3, 3.0.0 and 3.1.0 stem the same English words differently. `Stemmer.version()` is "2.0.1" in the first
# two, so it does not tell them apart, and an algorithm keeps its name. A search index that stores the stems of one version
# and is asked through another does not find these words.
#
# Needs bash, Python 3.11 with pip, and a package index. Uses PyStemmer alone. Fails if any of this changes.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/seen.py" <<'EOF'
import sys
import Stemmer

words = ["university", "added", "evening", "international", "interval", "running"]
stemmer = Stemmer.Stemmer("english")
known = "english" in Stemmer.algorithms()
print(f"version() {Stemmer.version()}, has english: {known}:", *(f"{word}>{stemmer.stemWord(word)}" for word in words))
EOF

cat >"$folder/expected" <<'EOF'
2.2.0.3 version() 2.0.1, has english: True: university>univers added>ad evening>even international>intern interval>interv running>run
3.0.0 version() 2.0.1, has english: True: university>universiti added>add evening>evening international>intern interval>interv running>run
3.1.0 version() 3.1.0, has english: True: university>universiti added>add evening>evening international>internat interval>interval running>run
EOF

for version in 2.2.0.3 3.0.0 3.1.0; do
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$folder/$version" "PyStemmer==$version" 2>/dev/null
    echo "$version $(PYTHONPATH="$folder/$version" "$python" "$folder/seen.py")"
done | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
