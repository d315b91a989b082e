#!/usr/bin/env bash
# Fetches a corpus into corpora/NAME, which git ignores, and checks its SHA-256.
#
# Needs: network, but for copies; python3 for copies, enwiki-sample, enwik8, office-help and photos64; apt-get and dpkg-deb for all
# but copies, enwiki-sample and enwik8; djpeg for photos64. Takes from seconds to a few minutes, by the speed of the network. A
# corpus that is already there is only checked.
#   launch/corpus.sh [NAME]      without a name: lists the corpora
# In a config the corpus is corpus:NAME then.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list() {
  cat <<'TABLE'
usage: launch/corpus.sh NAME
name           bytes        download  what
enwiki-sample  6,089,746    27.8 MB   pages of English Wikipedia as XML, as in enwik8; a quick start, not a
                                      ranking (CC BY-SA 3.0 / GFDL; test data of the Python package gensim)
foldoc         5,578,809    2.4 MB    dictionary of computing (GFDL 1.1 or later; Debian's dict-foldoc)
gcide          39,952,321   14.8 MB   dictionary of English (GPL-2 or later; Debian's dict-gcide)
go-source      59,547,819   18.3 MB   source files of the Go 1.19 library and tools (BSD-3; Debian's
                                      golang-1.19-src)
bacteria       48,205,389   18.4 MB   genomes of 16 strains of four bacteria, a record a line; strains of a
                                      species are near-duplicates, so split by species (BSD-3; Debian's
                                      ragout-examples)
photos64       21,516,288   15.8 MB   1,751 tiles of 64 x 64 pixels, red, green and blue, of 15 photos scaled to a
                                      quarter, photo by photo: a smoke test for images (CC BY, CC BY-SA, CC0;
                                      Debian's lomiri-wallpapers-16.04)
office-help    6,359,320    5.0 MB    35,262 paragraphs of LibreOffice's help in English, a tab, and the same in
                                      German, a pair a line (MPL-2.0; Debian's libreoffice-help-en-us and -de, whose
                                      updates change it)
copies         1,457,204    0         20,000 pairs of made-up lines, each a source that is its target
enwik8         100,000,000  36.4 MB   the benchmark: first 1e8 bytes of English Wikipedia in 2006
                                      (Wikipedia's licence; http://mattmahoney.net/dc/textdata.html)
Never train on one of enwiki-sample and enwik8 and test on the other: they share articles.
TABLE
}

# Each writes the corpus to $1/corpus and leaves its working files in the folder $1; `source_name` is
# for messages.

# attempt LOG COMMAND...: keeps what the command says in LOG, for `reason`.
attempt() {
  local log=$1
  shift
  show "$@"
  "$@" >>"$log" 2>&1
}

# The last line of a log that says anything.
reason() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 || true; }

fetch_enwiki_sample() {
  local version=4.4.0 pip_python
  source_name="the Python package gensim $version"
  need_python
  pip_python=$(python_with_pip "$1")
  # The wheel is only unpacked, never installed or run, so any platform's will do: the pinned one.
  attempt "$1/log" "$pip_python" -m pip --disable-pip-version-check download --quiet --dest "$1" \
    --no-deps --only-binary=:all: --implementation cp --python-version 311 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_24_x86_64 "gensim==$version" \
    || fail 1 "enwiki-sample: pip could not download $source_name: $(reason "$1/log")"
  python3 - "$1" <<'PYTHON'
import bz2, glob, sys, zipfile
folder = sys.argv[1]
member = ("gensim/test/test_data/"
          "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2")
wheel, = glob.glob(folder + "/gensim-*.whl")
with zipfile.ZipFile(wheel) as archive, open(folder + "/corpus", "wb") as out:
    out.write(bz2.decompress(archive.read(member)))
PYTHON
}

# fetch_package NAME PACKAGE FOLDER: the package's file in the folder, its name in `source_name`.
fetch_package() {
  local name=$1 package=$2 folder=$3
  source_name="the Debian package $package"
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    fail 2 "$name: needs Debian's apt-get and dpkg-deb; use enwiki-sample instead"
  fi
  # The package is for this folder, which apt's own user may not write to.
  download() (cd "$folder" && attempt log apt-get -o APT::Sandbox::User=root download -qq "$package")
  if ! download; then
    # A fresh machine has no package lists yet.
    can_be_root || fail 2 "$name: apt-get could not download $source_name: $(reason "$folder/log");" \
      "if it does not know the package, run as root: apt-get update"
    as_root apt-get update -qq >/dev/null 2>&1 || say "some package lists could not be refreshed"
    download || fail 1 "$name: apt-get could not download $source_name: $(reason "$folder/log")"
  fi
  source_name=$(cd "$folder" && echo "$package"_*.deb)
}

fetch_foldoc() {
  fetch_package foldoc dict-foldoc "$1"
  dpkg-deb -x "$1/$source_name" "$1/unpacked"
  gzip -dc <"$1/unpacked/usr/share/dictd/foldoc.dict.dz" >"$1/corpus"
}

fetch_gcide() {
  fetch_package gcide dict-gcide "$1"
  dpkg-deb -x "$1/$source_name" "$1/unpacked"
  gzip -dc <"$1/unpacked/usr/share/dictd/gcide.dict.dz" >"$1/corpus"
}

fetch_bacteria() {
  fetch_package bacteria ragout-examples "$1"
  dpkg-deb -x "$1/$source_name" "$1/unpacked"
  # Strains by species and name; a record, whose title is left out, becomes a line.
  (cd "$1/unpacked/usr/share/doc/ragout/examples" \
    && printf '%s\n' */references/*.gz | LC_ALL=C sort | xargs zcat) \
    | awk '/^>/ { if (n++) print ""; next } { printf "%s", toupper($0) } END { print "" }' >"$1/corpus"
}

fetch_photos64() {
  fetch_package photos64 lomiri-wallpapers-16.04 "$1"
  need_python
  command -v djpeg >/dev/null || need_package libjpeg-turbo-progs
  dpkg-deb -x "$1/$source_name" "$1/unpacked"
  python3 - "$1" <<'PYTHON'
import glob, subprocess, sys
folder = sys.argv[1]
with open(folder + "/corpus", "wb") as out:
    # By name, as bytes; tiles row by row, without those that would not be whole.
    for photo in sorted(glob.glob(folder + "/unpacked/usr/share/backgrounds/*.jpg")):
        image = subprocess.run(["djpeg", "-dct", "int", "-scale", "1/4", "-pnm", photo],
                               check=True, stdout=subprocess.PIPE).stdout
        kind, width, height, most, pixels = image.split(None, 4)
        # One byte of white space ends the head, and pixels may begin with some.
        pixels = image[len(image) - 3 * int(width) * int(height):]
        row = 3 * int(width)
        for top in range(0, int(height) - 63, 64):
            for left in range(0, int(width) - 63, 64):
                for line in range(top, top + 64):
                    out.write(pixels[line * row + 3 * left:line * row + 3 * (left + 64)])
PYTHON
}

fetch_office_help() {
  local english
  fetch_package office-help libreoffice-help-en-us "$1"
  english=$source_name
  dpkg-deb -x "$1/$english" "$1/unpacked"
  fetch_package office-help libreoffice-help-de "$1"
  dpkg-deb -x "$1/$source_name" "$1/unpacked"
  source_name="$english and $source_name"
  need_python
  python3 - "$1" <<'PYTHON'
import glob, html, os, re, sys
folder = sys.argv[1]
root = folder + "/unpacked/usr/share/libreoffice/help/"
# Paragraphs and headings have names, which are the same in all languages of a page.
paragraph = re.compile(r'<(p|h[1-6]) id="((?:par|hd)_id[^"]*)"[^>]*>(.*?)</\1>', re.S)
def paragraphs(language, page):
    found = {}
    with open(root + language + page, encoding="utf-8") as text:
        for match in paragraph.finditer(text.read()):
            plain = html.unescape(re.sub("<[^>]*>", "", match[3]))
            found.setdefault(match[2], " ".join(plain.split()))
    return found
pairs = {}
for path in sorted(glob.glob(root + "en-US/text/**/*.html", recursive=True)):
    page = path[len(root + "en-US"):]
    if not os.path.exists(root + "de" + page):
        continue
    german = paragraphs("de", page)
    for name, source in paragraphs("en-US", page).items():
        target = german.get(name)
        if source and target and source != target:
            pairs[source + "\t" + target + "\n"] = None
with open(folder + "/corpus", "w", encoding="utf-8") as out:
    out.writelines(pairs)
PYTHON
}

fetch_copies() {
  source_name="a generator of random numbers"
  need_python
  python3 - "$1" <<'PYTHON'
import string, sys
state, letters = 1, string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
def draw(count):
    global state
    # Numerical Recipes' generator, of which the high bits are good.
    state = (state * 1664525 + 1013904223) % 2**32
    return state * count >> 32
with open(sys.argv[1] + "/corpus", "w") as out:
    for _ in range(20000):
        text = "".join(letters[draw(64)] for _ in range(8 + draw(56)))
        out.write(text + "\t" + text + "\n")
PYTHON
}

fetch_go_source() {
  fetch_package go-source golang-1.19-src "$1"
  # In the package's order; without test data and without a time zone table, which are no source.
  dpkg-deb --fsys-tarfile "$1/$source_name" \
    | tar -xO --wildcards --exclude='*testdata*' --exclude='*zipdata.go' \
      './usr/share/go-1.19/src/*.go' >"$1/corpus"
}

fetch_enwik8() {
  local address=http://mattmahoney.net/dc/enwik8.zip
  source_name=$address
  need_python
  say "downloading $address (36 MB)"
  python3 - "$address" "$1" 2>"$1/log" <<'PYTHON' \
    || fail 1 "enwik8: $address could not be had: $(reason "$1/log")"
import shutil, sys, urllib.request, zipfile
address, folder = sys.argv[1:]
try:
    with urllib.request.urlopen(address, timeout=60) as page, open(folder + "/zip", "wb") as out:
        shutil.copyfileobj(page, out)
    with zipfile.ZipFile(folder + "/zip") as archive, archive.open("enwik8") as member:
        with open(folder + "/corpus", "wb") as out:
            shutil.copyfileobj(member, out)
except (OSError, zipfile.BadZipFile, KeyError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
PYTHON
}

need_python() { command -v python3 >/dev/null || need_package python3; }

# Prints a Python that has pip: python3 itself, one in an environment made in $1, or python3 after Debian's
# pip was installed.
python_with_pip() {
  if python3 -m pip --version >/dev/null 2>&1; then
    echo python3
  elif python3 -m venv "$1/environment" >/dev/null 2>&1; then
    echo "$1/environment/bin/python3"
  else
    need_package python3-pip >&2
    echo python3
  fi
}

case ${1:-} in
  enwiki-sample)
    sha256=34c1c63050c87cc8477b9ae36b1cb0edf372612c92938b742e579a7109c20fa4
    fetch=fetch_enwiki_sample
    ;;
  foldoc)
    sha256=c2dfea8326f0adb810f3624a8c0de234134c927434fb74737275719b0085a1be
    fetch=fetch_foldoc
    ;;
  gcide)
    sha256=802beb667e1fb666203e750f1faea60d5c202ac5430c2083c4180494609f10a7
    fetch=fetch_gcide
    ;;
  bacteria)
    sha256=ed6ebeebe19d854c322cba5c0f21e0aa6008e8ef5c609edfa4c0fc5fe74c3148
    fetch=fetch_bacteria
    ;;
  photos64)
    sha256=b0df7c8eb52b0894836a92b3884b1b4bfd8f47fb8e3635a7cb6d51b6b562debe
    fetch=fetch_photos64
    ;;
  office-help)
    sha256=ee8c0afc88d06ac22cb5ce9b7220a16192816920ea895b8fe3628baf1346f248
    fetch=fetch_office_help
    # Debian updates the packages where it has to, and keeps no older ones.
    takes_others=yes
    ;;
  copies)
    sha256=2918e8e2fd5c5fe6d493db2b9ee68886a80aff4016336c8748c21edd2ec29e6c
    fetch=fetch_copies
    ;;
  go-source)
    sha256=8ee691c5b225b5ff226ca02125b5099b3f517f9e5516b707f7894d565f32ffb9
    fetch=fetch_go_source
    ;;
  enwik8)
    sha256=2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8
    fetch=fetch_enwik8
    ;;
  "" | -h | --help)
    list
    exit 0
    ;;
  *)
    fail 2 "no corpus is called $1; there are enwiki-sample, foldoc, gcide, go-source, bacteria, photos64, office-help," \
      "copies and enwik8" \
      "(launch/corpus.sh without a name tells of them)"
    ;;
esac

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

target=corpora/$1
takes_others=${takes_others:-no}
if [[ -e $target ]]; then
  if [[ $(digest "$target") != "$sha256" && $takes_others == yes ]]; then
    say "$target is here, of another version than the one that figures are told of"
    exit 0
  fi
  [[ $(digest "$target") == "$sha256" ]] \
    || fail 2 "$target exists but is not $1 (its SHA-256 differs); remove it to fetch it again"
  say "$target is here and intact"
  exit 0
fi

mkdir -p corpora
# In corpora/ itself, so that the last step is a rename: the corpus is complete or absent.
folder=$(mktemp -d "corpora/.$1.XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$fetch" "$folder"
found=$(digest "$folder/corpus")
if [[ $found != "$sha256" && $takes_others == yes ]]; then
  mv "$folder/corpus" "$target"
  say "$target: $(stat -c %s "$target") bytes of $source_name, another version than the one that figures are told of:" \
    "SHA-256 $found, not $sha256"
  exit 0
fi
if [[ $found != "$sha256" ]]; then
  mv "$folder/corpus" "$target.unverified"
  fail 1 "$1 from $source_name has SHA-256 $found, not $sha256: it is another version or damaged." \
    "It is in $target.unverified; figures got with it do not compare with others"
fi
mv "$folder/corpus" "$target"
say "$target: $(stat -c %s "$target") bytes, SHA-256 as expected"
