#!/usr/bin/env bash
# Has TensorBoard's own reader read the event file of a run, and compares every scalar with metrics.jsonl.
#
# Trains configs/debug.toml on docs/ first, some seconds. Needs python3-venv, and network for the package tensorboard.
#   launch/tensorboard.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ -x $program ]] || fail 2 "no program; $get_program"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run python3 -m venv "$work/python"
run "$work/python/bin/pip" install --quiet tensorboard 'setuptools<81'
run "$program" train --config configs/debug.toml --set data.corpus=docs --output "$work/run"
run "$program" report "$work/run" --tensorboard "$work/board"
"$work/python/bin/python" - "$work" <<'PYTHON'
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

work = sys.argv[1]
events = EventAccumulator(work + "/board/run", size_guidance={"scalars": 0})
events.Reload()
found = {
    (tag, event.step): event.value
    for tag in events.Tags()["scalars"]
    for event in events.Scalars(tag)
}
expected = {}
for line in open(work + "/run/metrics.jsonl"):
    record = json.loads(line)
    for key, value in record.items():
        is_scalar = isinstance(value, (int, float))
        if is_scalar and key != "step" and not key.startswith("checkpoint_"):
            expected[key, record["step"]] = value
assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
for place, value in expected.items():
    assert abs(found[place] - value) <= 1e-6 * abs(value), (place, value, found[place])
print(f"TensorBoard reads all {len(found)} scalars of {work}/run as they are in metrics.jsonl")
PYTHON
