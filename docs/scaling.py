#!/usr/bin/env python3
"""Predicts the seconds of a training step on N ranks; the model and its figures are in scaling.md.

  python3 docs/scaling.py --parameters 4.6e6 --layers 6 --step-seconds 0.93 --gbits 10 25 100
"""
import argparse

ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
ask.add_argument("--parameters", type=float, required=True, help="as `plan` says")
ask.add_argument("--layers", type=int, required=True)
ask.add_argument("--step-seconds", type=float, required=True,
                 help="one window on one rank, as `benchmark` says with global_batch = 1")
ask.add_argument("--windows", type=float, default=1, help="windows per rank and step")
ask.add_argument("--gbits", type=float, nargs="+", default=[10, 25, 100], help="link, per rank")
ask.add_argument("--latency", type=float, default=10e-6, help="seconds, as `doctor` says")
ask.add_argument("--message", type=float, default=1.5e-6, help="processor seconds per message")
ask.add_argument("--copy", type=float, default=11e9, help="memory, bytes/s, as `doctor` says")
ask.add_argument("--forward", type=float, default=0.22, help="share of a window's step")
ask.add_argument("--ranks", type=int, nargs="+",
                 default=[2, 4, 8, 16, 64, 256, 1024, 4096])
a = ask.parse_args()


def step(ranks, gbits):
    groups = 2 * a.layers + 2
    compute = a.windows * a.step_seconds
    one_way = 4 * a.parameters * (ranks - 1) / ranks / (gbits * 1e9 / 8)
    # What can only move while nothing is computed: about half a block's attention, a group's share.
    tail = one_way / (3 * groups)
    gradients = max(tail, one_way - (1 - a.forward) * a.step_seconds)
    parameters = max(tail, one_way - a.forward * a.step_seconds)
    total = 4 * a.parameters / a.copy  # adding up this rank's piece from all ranks
    messages = 2 * 3 * groups * (ranks - 1) * a.message
    exposed = gradients + parameters + total + messages + 4 * a.latency
    return compute, compute + exposed


print("ranks " + "".join(f"{g:>10g} Gb/s   " for g in a.gbits) + " (seconds a step, efficiency)")
for ranks in a.ranks:
    cells = [step(ranks, g) for g in a.gbits]
    print(f"{ranks:5d} " + "".join(f"{t:9.3f}  {c / t:4.2f} " for c, t in cells))
