#!/usr/bin/env bash
# Makes what the README opens with from a trained run: the curve of its report as docs/pictures/RUN.svg, and three
# lines of text that its newest checkpoint writes.
#
# Needs python3, and bzip2, xz and zstd for their lines in the picture; takes some seconds.
#   launch/picture.sh [RUN]    RUN: checkpoints/quickstart
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ -x $program ]] || fail 2 "no program; $get_program"
folder=${1:-checkpoints/quickstart}
[[ -f $folder/metrics.jsonl ]] || fail 2 "$folder: no run here; launch/quickstart.sh trains one"
prompt='The city is known for '
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run "$program" report "$folder" --compressors --output "$work/report.html" >/dev/null
{
  printf '%s' "$prompt"
  run "$program" generate "$folder" --prompt "$prompt" --bytes 400 --temperature 0.8 --seed 1
} >"$work/text"

mkdir -p docs/pictures
python3 - "$work" "docs/pictures/$(basename "$folder").svg" "$prompt" <<'PYTHON'
import re, sys, textwrap

work, picture, prompt = sys.argv[1:]
page = open(f"{work}/report.html", encoding="utf-8").read()
style = re.search(r"<style>(.*?)</style>", page, re.S).group(1)
svg = re.search(r'<svg [^>]*aria-label="Bits per byte".*?</svg>', page, re.S).group(0)
# Alone it needs its name space, the page's colours, and a ground.
rules = [rule for rule in style.split("\n") if re.match(r"\s*(:root|--|@media|svg|\.|text\.|path\.)", rule)]
head, rest = svg.split(">", 1)
head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="720" ', 1)
ground = '<rect width="100%" height="100%" style="fill: var(--page)"/>'
open(picture, "w", encoding="utf-8").write(
    head + ">\n<style>\n" + "\n".join(rules) + "\n</style>\n" + ground + rest + "\n")

text = " ".join(open(f"{work}/text", encoding="utf-8", errors="replace").read().split())
lines = textwrap.wrap(text, 96)[:3]
block = "\n".join(
    [f"![Bits per byte while the quickstart run learns]({picture})", "", "```text"] + lines + ["```"])
begin, end = "<!-- made by launch/picture.sh -->", "<!-- until here -->"
readme = open("README.md", encoding="utf-8").read()
before, rest = readme.split(begin)
after = rest.split(end)[1]
open("README.md", "w", encoding="utf-8").write(f"{before}{begin}\n{block}\n{end}{after}")
PYTHON
say "the README opens with $folder"
