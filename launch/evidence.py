# Writes a part of docs/results/evidence.md from the runs of launch/evidence.sh.
#
#   python3 launch/evidence.py PART FOLDER PAGE
import datetime
import json
import lzma
import os
import platform
import re
import subprocess
import sys
import tempfile

# Kitaev et al. 2020, table 2: accuracy in per cent, trained with (rows) and scored with (columns).
COLUMNS = ["full", "LSH-8", "LSH-4", "LSH-2", "LSH-1"]
PUBLISHED = {
    "full": [100, 94.8, 92.5, 76.9, 52.5],
    "lsh-4": [0.8, 100, 99.9, 99.4, 91.9],
    "lsh-2": [0.8, 100, 99.9, 98.1, 86.8],
    "lsh-1": [0.8, 99.9, 99.6, 94.8, 77.9],
}


def objects(path):
    """The JSON objects of a file, one after the other."""
    text, place, found = open(path, encoding="utf-8").read(), 0, []
    while place < len(text):
        value, place = json.JSONDecoder().raw_decode(text, place)
        found.append(value)
        while place < len(text) and text[place].isspace():
            place += 1
    return found


def steps(folder):
    """The lines of a run's steps."""
    lines = [json.loads(line) for line in open(f"{folder}/metrics.jsonl", encoding="utf-8")]
    return [line for line in lines if "step_seconds" in line]


def config(folder, key):
    """The value of a key of a run's resolved config, as it stands there."""
    text = open(f"{folder}/config.toml", encoding="utf-8").read()
    section, name = key.rsplit(".", 1)
    own = re.split(rf"^\[{re.escape(section)}\]$", text, flags=re.M)[1]
    return re.search(rf"^{name} = (.*)$", own, re.M)[1].strip('"')


def machine():
    """Processor, cores and system."""
    info = open("/proc/cpuinfo", encoding="utf-8").read()
    model = re.search(r"model name\s*: (.*)", info)
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def commit():
    """The commit that is checked out, and whether the tree differs from it."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "Sources", "configs", "launch")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def table(rows):
    """Markdown of rows, the first of which is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0])] + lines[1:])


def spread(values, form="{:.2f}", mean=None):
    """Their mean, with the least and the most where they differ."""
    mean = sum(values) / len(values) if mean is None else mean
    mean, least, most = (form.format(v) for v in (mean, min(values), max(values)))
    return mean + (f" ({least} to {most})" if least != most else "")


def duplication(folder):
    """Table 2."""
    rows = [["trained with", "seeds", "steps", "minutes"]]
    for column in COLUMNS:
        rows[0] += [f"{column}", "published"]
    first = None
    for name in ["full", "lsh-4", "lsh-2", "lsh-1", "strict-4"]:
        runs = [f"{folder}/{name}-{seed}" for seed in (1, 2, 3)]
        runs = [run for run in runs if os.path.exists(f"{run}/lsh.json")]
        if not runs:
            continue
        first = first or runs[0]
        scores = [objects(f"{run}/full.json") + objects(f"{run}/lsh.json") for run in runs]
        minutes = [sum(line["step_seconds"] for line in steps(run)) / 60 for run in runs]
        counts = [len(steps(run)) for run in runs]
        row = [f"`{name}`", f"{len(runs)}", spread(counts, "{:.0f}"), spread(minutes, "{:.1f}")]
        for place in range(len(COLUMNS)):
            row += [
                spread([100 * score[place]["accuracy"] for score in scores]),
                f"{PUBLISHED[name][place]:g}" if name in PUBLISHED else "",
            ]
        rows.append(row)
    count = objects(f"{first}/full.json")[0]["bytes"]
    return f"""## Table 2: what hash rounds are worth on the duplication task

`configs/duplication.toml`: sequences 0w0w of {int(config(first, "data.length")):,} bytes, {config(first, "run.global_batch")} a step. Accuracy in per cent of the symbols of the second w, over {count:,} of them in sequences that no run was trained on. Rows are what was trained with, columns what was scored
with: full attention, or LSH with so many rounds. The mean over the seeds (least to most), of which each has its own first values, sequences and hash rotations; beside it the published figure (Kitaev et al. 2020, table 2). `strict-4` is LSH-4 with
`attention.lsh.sight = "bucket"`, and is scored with that sight but in the first column. Minutes are those of the steps on this machine, whatever else it did. Unlike the paper's, positions are places in a grid with columns for the {int(config(first, "data.length")) // 2 - 1} symbols of w, so that where to look
is at hand and only what to look for, and how to find it by hashes, has to be learnt.

{table(rows)}
"""


def compared(result, reference):
    """The budget of a comparison, and its table: bits per byte of each variant, and what it is beyond the first one."""
    budget = objects(result)[0]["budgets"][0]

    def figure(value, form):
        return spread([value["mean"], value["least"], value["most"]], form, value["mean"])

    rows = [["variant", "seeds", "prequential", "test", f"test beyond `{reference}`, seed by seed", "minutes a run", "peak, MB"]]
    for row in budget["rows"]:
        difference = row.get("difference")
        tie = ", a tie" if row.get("is_tie") else ""
        rows.append([
            f"`{row['variant']}`", f"{row['runs']}", figure(row["prequential"], "{:.4f}"),
            figure(row["test"], "{:.4f}"),
            figure(difference, "{:+.4f}") + tie if difference else "",
            f"{row['trained_bytes']['mean'] / row['bytes_per_second']['mean'] / 60:.1f}",
            f"{row['peak_rss_bytes']['mean'] / 1e6:.0f}",
        ])
    return budget, table(rows)


def reversible(folder):
    """Figure 3, and memory by depth."""
    budget, rows = compared(f"{folder}/compare.json", "reversible")
    depths = [["layers", "parameters and moments, MB"]]
    for kind in ["reversible", "plain"]:
        depths[0] += [f"{kind}: plan, MB", "measured", "measured / plan"]
    for depth in [3, 6, 12, 24]:
        row = [f"{depth}"]
        for kind in ["reversible", "plain"]:
            plan = objects(f"{folder}/{kind}-{depth}-plan.json")[0]
            planned = plan["peak_rss_bytes"] / 1e6
            measured = objects(f"{folder}/{kind}-{depth}-benchmark.json")[0]["peak_rss_bytes"] / 1e6
            if len(row) == 1:
                row.append(f"{16 * plan['parameters'] / 1e6:.1f}")
            row += [f"{planned:.1f}", f"{measured:.1f}", f"{measured / planned:.3f}"]
        depths.append(row)
    return f"""## Figure 3: reversible layers and shared queries and keys cost nothing

`configs/compare/residual.toml`: bits per byte of enwiki-sample after {budget["bytes"]:,} bytes of training in the same steps, the same seeds and first values; mean (least to most). `reversible` and `plain` have full attention with one projection for queries and keys in two of four layers, `separate` has two.
The paper shows curves of both pairs that lie on each other.

{rows}

Peak memory of a step of one window of 4,096 bytes (`configs/small.toml`, one thread) by the number of layers:

{table(depths)}
"""


def rounds(folder):
    """Figure 4."""
    text, words = compared(f"{folder}/rounds.json", "full")
    page = f"""## Figure 4: hash rounds beside full attention

Two of four layers are LSH with so many rounds (strict sight) or full attention with shared queries and keys, the others local. The paper's curves on imagenet64 order themselves by the rounds and come to full attention's with eight.

`configs/compare/rounds.toml`, enwiki-sample in windows of at most 4,096 bytes, {text["bytes"]:,} bytes of training:

{words}
"""
    if os.path.exists(f"{folder}/rounds-pixels.json"):
        images, pixels = compared(f"{folder}/rounds-pixels.json", "full")
        page += f"""
`configs/compare/rounds-pixels.toml`, photos64 in windows of one image, 12,288 numbers, {images["bytes"]:,} of training, bits per dimension of the first ten images of the test photo:

{pixels}
"""
    return page


def length(folder):
    """Figure 5."""
    def seconds(kind, size):
        turns = [f"{folder}/{kind}-{size}-{turn}.json" for turn in (1, 2)]
        found = [objects(turn)[0]["bytes_per_second"] for turn in turns if os.path.exists(turn)]
        return [1e6 / value for value in found]

    sizes = [1 << power for power in range(10, 21, 2)]
    first = {kind: sum(seconds(kind, sizes[0])) / len(seconds(kind, sizes[0])) for kind in ("lsh", "full")}
    rows = [["bytes of a window", "windows a step", "LSH: microseconds a byte", "beside 1,024", "full", "beside 1,024"]]
    for size in sizes:
        row = [f"{size:,}", f"{(1 << 20) // size:,}"]
        for kind in ("lsh", "full"):
            values = seconds(kind, size)
            mean = sum(values) / len(values) if values else 0
            row += [spread(values, "{:.1f}"), f"{mean / first[kind]:.2f}"] if values else ["", ""]
        rows.append(row)
    return f"""## Figure 5: the time of a step by the length of its windows

`configs/compare/length.toml`: training steps of two LSH layers (one round, strict sight) on 1,048,576 bytes, however long their windows are; beside two layers of full attention, on steps of 65,536. Turns over all lengths: {len(seconds("lsh", sizes[-1]))}; their mean (least to most). In the
paper LSH attention stays flat and full attention grows with the length.

{table(rows)}
"""


def depth(folder):
    """Bits and memory by the number of layers."""
    budget, rows = compared(f"{folder}/compare.json", "3")
    return f"""## Depth

`configs/compare/depth.toml`: the same model with 3, 6, 12 and 24 layers, a third of them LSH, {budget["bytes"]:,} bytes of enwiki-sample; the peak is that of the whole program. What a layer adds to the peak are its parameters, their gradient and the moments of the optimizer.

{rows}
"""


def held_out(run, split):
    """The score of a split of a run."""
    return objects(f"{run}/{split}.json")[0]


def minutes(run):
    """Of the steps of a run."""
    return sum(line["step_seconds"] for line in steps(run)) / 60


def xz(data):
    """Bits of each byte of `data` under xz -9."""
    return 8 * len(lzma.compress(data, preset=9)) / len(data)


def png(tiles, columns):
    """Bits per byte of an optimised PNG of a photo, from its tiles, so many in a row of them."""
    lines = [
        tiles[(first + tile) * 12288 + line * 192:][:192]
        for first in range(0, len(tiles) // 12288, columns) for line in range(64) for tile in range(columns)
    ]
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/photo.ppm", "wb") as file:
            file.write(b"P6 %d %d 255\n" % (64 * columns, len(lines) // columns) + b"".join(lines))
        subprocess.run(["optipng", "-quiet", "-o7", "-out", folder + "/photo.png", folder + "/photo.ppm"], check=True)
        return 8 * os.path.getsize(folder + "/photo.png") / len(tiles)


def pixels(run):
    """Bits per dimension of photos."""
    corpus = open("corpora/photos64", "rb").read()
    image, rows = 64 * 64 * 3, [["photo", "images", "bits per dimension", "`xz -9`", "ratio", "`optipng -o7`", "ratio"]]
    for split, first, last, columns in (("validation", 1455, 1631, 16), ("test", 1631, 1751, 15)):
        bits, tiles = held_out(run, split)["bits_per_byte"], corpus[first * image:last * image]
        others = [xz(tiles), png(tiles, columns)]
        rows.append([split, f"{last - first}", f"{bits:.3f}"] + [f(other) for other in others for f in (
            "{:.3f}".format, lambda other: f"{bits / other:.2f}")])
    return f"""## Images

`configs/photos64.toml`: 64 x 64 tiles of 13 photos to train on, {len(steps(run)):,} steps, {minutes(run):.0f} minutes of them, one seed; two photos that it has never seen.

{table(rows)}
"""


def genomes(run):
    """Bits per base of a species."""
    score = held_out(run, "test")
    corpus = open("corpora/bacteria", "rb").read()
    # The test split begins with the first record at or after this share.
    start = corpus.index(b"\n", int(0.7433 * len(corpus))) + 1
    other = xz(corpus[start:start + score["bytes"]])
    return f"""## Genomes

`configs/bacteria.toml`: records of three species to train on, {len(steps(run)):,} steps, {minutes(run):.0f} minutes of them, one seed; a strain of a fourth, Vibrio cholerae, {score["bytes"]:,} bases in windows of {int(config(run, "data.length")):,}.

{table([["", "bits per base"], ["this", f"{score['bits_per_byte']:.4f}"], ["two bits a base", "2"], ["`xz -9` of these bases", f"{other:.4f}"]])}
"""


part, folder, page = sys.argv[1:]
begin, end = f"<!-- {part}: made by launch/evidence.sh -->", f"<!-- until here: {part} -->"
text = globals()[part](folder)
text += f"\n`launch/evidence.sh {part}`, commit {commit()}, {datetime.date.today()}, {machine()}.\n"
old = open(page, encoding="utf-8").read()
before, rest = old.split(begin) if begin in old else (old.rstrip("\n") + "\n\n", f"{end}\n")
after = rest.split(end)[1]
open(page, "w", encoding="utf-8").write(f"{before}{begin}\n{text}{end}{after}")
