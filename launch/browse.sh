#!/usr/bin/env bash
# Opens the page of a run in headless Chromium, as wide as a phone and as a desk: fails where the console says anything,
# where a curve is not drawn or does not end at the last value of metrics.jsonl, to a pixel, or where the page is wider
# than the window; leaves a screenshot of each.
#
# Without RUN it trains configs/debug.toml on docs/ first, some seconds. Needs chromium and python3
# (launch/setup.sh chromium python3).
#   launch/browse.sh [RUN [FOLDER-FOR-SCREENSHOTS]]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ -x $program ]] || fail 2 "no program; $get_program"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) \
  || fail 2 "no Chromium; launch/setup.sh chromium installs it"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

folder=${1:-}
if [[ -z $folder ]]; then
  folder=$work/run
  run "$program" train --config configs/debug.toml --set data.corpus=docs --output "$folder"
fi
screenshots=${2:-$work}
mkdir -p "$screenshots"
"$program" report "$folder" --output "$work/report.html" >/dev/null

# A page that holds the report in a frame, and writes down what became of it.
frame() {
  cat >"$work/frame.html" <<HTML
<!DOCTYPE html><meta charset="utf-8">
<iframe id="page" src="report.html" style="width:$1px;height:2000px;border:0"></iframe>
<script>
document.getElementById("page").onload = event => {
  const page = event.target.contentDocument;
  const curves = [...page.querySelectorAll("[data-metric]")];
  // A single evaluation is a point.
  const empty = curves.filter(curve => curve.getBoundingClientRect().width < 2);
  document.body.dataset.result = [curves.length, empty.length, page.documentElement.scrollWidth].join(" ");
  // Where a curve ends on the screen, as a value by the axis on the screen, and how much of a value a pixel is.
  document.body.dataset.ends = curves.map(curve => {
    const picture = curve.ownerSVGElement, axis = picture.dataset;
    const last = curve.tagName == "path" ? curve.getPointAtLength(curve.getTotalLength()) : {
      x: curve.lastElementChild.cx.baseVal.value, y: curve.lastElementChild.cy.baseVal.value };
    const down = y => new DOMPoint(0, y).matrixTransform(picture.getScreenCTM()).y;
    const end = new DOMPoint(last.x, last.y).matrixTransform(curve.getScreenCTM()).y;
    const pixel = (axis.yTo - axis.yFrom) / (down(axis.bottom) - down(axis.top));
    const value = Number(axis.yFrom) + (down(axis.bottom) - end) * pixel;
    return [curve.dataset.metric, curve.dataset.lastY, value, pixel].join(" ");
  }).join(";");
};
</script>
HTML
}

browse() {
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
    --user-data-dir="$work/profile" --allow-file-access-from-files --enable-logging=stderr "$@" \
    2>>"$work/console"
}

for width in 390 1440; do
  frame "$width"
  browse --window-size="$((width + 40)),2100" --virtual-time-budget=5000 --dump-dom \
    "file://$work/frame.html" >"$work/dom"
  read -r curves empty across < <(sed -n 's/.*data-result="\([^"]*\)".*/\1/p' "$work/dom") \
    || fail 1 "the page was not loaded at $width pixels"
  ((curves >= 8)) || fail 1 "only $curves curves at $width pixels"
  ((empty == 0)) || fail 1 "$empty of $curves curves are not drawn at $width pixels"
  ((across <= width)) || fail 1 "the page is $across pixels wide in a window of $width"
  python3 - "$work/dom" "$folder/metrics.jsonl" <<'PYTHON' || fail 1 "a curve does not end at its last value (above)"
import json, re, sys

last = {}
for line in open(sys.argv[2]):
    last.update(json.loads(line))
ends = re.search('data-ends="([^"]*)"', open(sys.argv[1]).read()).group(1).split(";")
compared = 0
for end in ends:
    metric, told, drawn, pixel = end.split(" ")
    # Means and positions are not in the file as such.
    value = last.get(metric) if isinstance(last.get(metric), (int, float)) else float(told)
    compared += metric in last
    if abs(float(told) - value) > 1e-12 * abs(value) or abs(float(drawn) - value) > float(pixel):
        sys.exit(f"{metric}: the last value is {value}, the page says {told} and draws {drawn}")
assert compared >= 6, f"only {compared} curves are of keys of metrics.jsonl"
PYTHON
  browse --window-size="$width,1600" --screenshot="$screenshots/report-$width.png" \
    "file://$work/report.html" >/dev/null
  [[ -s $screenshots/report-$width.png ]] || fail 1 "no screenshot at $width pixels"
  say "$curves curves drawn at $width pixels"
done
if grep CONSOLE "$work/console" >&2; then fail 1 "the console is not silent (above)"; fi
