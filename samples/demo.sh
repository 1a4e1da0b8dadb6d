#!/bin/sh
# What `make demo` shows: a real corpus indexed, three of its questions answered, and what to type next.
set -eu

lexhound="$BIN/lexhound"
rm -rf "$DEMO"

show() {
    printf '\n$ lexhound'
    for word in "$@"; do
        case "$word" in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$lexhound" "$@"
}

echo "Cranfield: 1,400 abstracts on aerodynamics, and questions that engineers asked of them in the 1960s."
show index samples/cranfield --into "$DEMO" --encoder bm25
show search "$DEMO" "what problems of heat conduction in composite slabs have been solved so far" -k 3
show search "$DEMO" "what chemical kinetic system is applicable to hypersonic aerodynamic problems" -k 3
show search "$DEMO" "structural and aeroelastic problems associated with flight of high speed aircraft" -k 2 --explain

cat <<END

Try next (or put $BIN on your PATH and type just \`lexhound\`):

    $lexhound search $DEMO "boundary layer transition"        # your own question
    $lexhound search $DEMO "boundary layer" --explain --json  # for programs
    $lexhound info $DEMO                                      # what is in it
    $lexhound serve $DEMO                                     # a search page on http://127.0.0.1:8080, and REST
    $lexhound eval samples/cranfield                          # how good are the answers?
    $lexhound index YOUR.jsonl --into your.index              # your own documents: JSON Lines, CSV, a folder, ...
    $lexhound --help                                          # everything else
END
