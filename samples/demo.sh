#!/bin/sh
# What `make demo` shows: a part of a real corpus indexed with the model that comes with the package, a question that
# words alone answer wrongly, what the model adds to a text, and what to type next.
set -eu

lexhound="$BIN/lexhound"
words="${DEMO%.index}-bm25.index"
part="${DEMO%.index}.jsonl"
rm -rf "$DEMO" "$words"
head -n 300 samples/cranfield/corpus.jsonl > "$part"

show() {
    printf '\n$ lexhound'
    for word in "$@"; do
        case "$word" in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$lexhound" "$@"
}

question="work on small-oscillation re-entry motions"

echo "Cranfield: abstracts on aerodynamics, and questions that engineers asked of them in the 1960s. Here are 300 of 1,400."
show index "$part" --into "$DEMO"
show index "$part" --into "$words" --encoder bm25

printf '\n%s\n' "An engineer asked this, and abstracts 32 and 67 answer it. By words alone (BM25) neither comes up:"
show search "$words" "$question" -k 2
printf '\n%s\n' "With the model's terms and dense vectors, which compare meanings, the answer comes first:"
show search "$DEMO" "$question" -k 2 --explain
printf '\n%s\n' "What the model makes of a text: its own words, and those that it adds."
show inspect lexhound-mini "the motion of a missile descending through the atmosphere" --top 12

cat <<END

Try next (or put $BIN on your PATH and type just \`lexhound\`):

    $lexhound search $DEMO "why do planes stall"              # your own question
    $lexhound serve $DEMO                                     # a search page on http://127.0.0.1:8080, and REST
    $lexhound info $DEMO                                      # what is in it
    $lexhound eval samples/cranfield --encoder bm25           # how good are the answers?
    $lexhound index YOUR.jsonl --into your.index              # your own documents: JSON Lines, CSV, a folder, ...
    $lexhound --help                                          # everything else
END
