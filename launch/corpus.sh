#!/usr/bin/env bash
# Fetches a corpus into corpora/NAME, which git ignores, and checks its SHA-256.
#
# Needs: network; python3 for enwiki-sample and enwik8; apt-get and dpkg-deb for foldoc. Takes from seconds
# to a few minutes, by the speed of the network. A corpus that is already there is only checked.
#   launch/corpus.sh [NAME]      without a name: lists the corpora
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

list() {
  cat <<'TABLE'
usage: launch/corpus.sh NAME
name           bytes        download  what
enwiki-sample  6,089,746    27.8 MB   pages of English Wikipedia as XML, as in enwik8; a quick start, not a
                                      ranking (CC BY-SA 3.0 / GFDL; test data of the Python package gensim)
foldoc         5,578,809    2.4 MB    dictionary of computing (GFDL 1.1 or later; Debian's dict-foldoc)
enwik8         100,000,000  36.4 MB   the benchmark: first 1e8 bytes of English Wikipedia in 2006
                                      (Wikipedia's licence; http://mattmahoney.net/dc/textdata.html)
Never train on one of enwiki-sample and enwik8 and test on the other: they share articles.
TABLE
}

# Each writes the corpus to $1/corpus and leaves its working files in the folder $1; `source_name` is
# for messages.

fetch_enwiki_sample() {
  local version=4.4.0 pip_python
  source_name="the Python package gensim $version"
  need_python
  pip_python=$(python_with_pip "$1")
  # The wheel is only unpacked, never installed or run, so any platform's will do: the pinned one.
  run "$pip_python" -m pip --disable-pip-version-check download --quiet --dest "$1" --no-deps \
    --only-binary=:all: --implementation cp --python-version 311 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_24_x86_64 "gensim==$version" \
    || fail 1 "enwiki-sample: pip could not download $source_name (its reason is above)"
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

fetch_foldoc() {
  source_name="the Debian package dict-foldoc"
  command -v apt-get >/dev/null || fail 2 "foldoc: needs Debian's apt-get; use enwiki-sample instead"
  local folder=$1
  # The package is for this folder, which apt's own user may not write to.
  download() (cd "$folder" && run apt-get -o APT::Sandbox::User=root download -qq dict-foldoc)
  if ! download; then
    # A fresh machine has no package lists yet.
    can_be_root || fail 2 "foldoc: apt-get could not download $source_name (its reason is above);" \
      "if it does not know the package, run as root: apt-get update"
    as_root apt-get update -qq || say "some package lists could not be refreshed"
    download || fail 1 "foldoc: apt-get could not download $source_name (its reason is above)"
  fi
  dpkg-deb -x "$folder"/dict-foldoc_*.deb "$folder/unpacked"
  source_name=$(cd "$folder" && echo dict-foldoc_*.deb)
  gzip -dc <"$folder/unpacked/usr/share/dictd/foldoc.dict.dz" >"$folder/corpus"
}

fetch_enwik8() {
  local address=http://mattmahoney.net/dc/enwik8.zip
  source_name=$address
  need_python
  say "downloading $address (36 MB)"
  python3 - "$address" "$1" <<'PYTHON' || fail 1 "enwik8: $address could not be had (see above)"
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
  enwik8)
    sha256=2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8
    fetch=fetch_enwik8
    ;;
  "" | -h | --help)
    list
    exit 0
    ;;
  *)
    list >&2
    fail 2 "no corpus is called $1; the names are above"
    ;;
esac

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

target=corpora/$1
if [[ -e $target ]]; then
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
if [[ $found != "$sha256" ]]; then
  mv "$folder/corpus" "$target.unverified"
  fail 1 "$1 from $source_name has SHA-256 $found, not $sha256: it is another version or damaged." \
    "It is in $target.unverified; figures got with it do not compare with others"
fi
mv "$folder/corpus" "$target"
say "$target: $(stat -c %s "$target") bytes, SHA-256 as expected"
