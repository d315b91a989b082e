#!/usr/bin/env bash
# From a fresh checkout to a trained and tested model: packages, build, corpus, training on two ranks, score
# on the test bytes. Run it again after an interruption: it goes on where it stopped.
#
# Needs: Debian or Ubuntu, network, two cores, 2 GB of memory; installs Swift where it is missing. Times are for two
# cores of 2023. Arguments go to the training command, for example --steps 20.
#   launch/quickstart.sh [ARGUMENT...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

say "1/5 system packages (about a minute, seconds when they are here)"
launch/setup.sh
find_swift

say "2/5 release build (about two minutes the first time)"
run swift build -c release --product reformer-train

say "3/5 corpus (28 MB to download, about a minute)"
name=quickstart
corpus=()
if ! run launch/corpus.sh enwiki-sample; then
  say "enwiki-sample cannot be had (reason above); taking foldoc, a dictionary, instead"
  run launch/corpus.sh foldoc || fail 1 "no corpus could be had; reasons above"
  # A name of its own: a run never changes its corpus.
  name=quickstart-foldoc
  corpus=(--set "run.name=$name" --set data.corpus=corpora/foldoc)
fi

say "4/5 training on two ranks (about six minutes)"
run launch/local.sh 2 train --config configs/quickstart.toml "${corpus[@]}" --resume auto "$@"

say "5/5 scoring the test split with the newest checkpoint (about a minute)"
shopt -s nullglob
newest=
# Names sort by step; a folder without a manifest is not complete.
for manifest in "checkpoints/$name"/step-*[0-9]/manifest.json; do newest=$(dirname "$manifest"); done
[[ -n $newest ]] || fail 1 "training left no checkpoint in checkpoints/$name"
run .build/release/reformer-train evaluate "$newest" --split test
say "done; the run is in checkpoints/$name, and its curves, for a browser, in"
echo "checkpoints/$name/report.html"
