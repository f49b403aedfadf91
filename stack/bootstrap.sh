#!/usr/bin/env bash
# The virtual environment of a checkout: locked dependencies, this package, and the native decoder
# where a Rust toolchain is. Called by the Makefile; safe to run again.
set -euo pipefail

VENV=${VENV:-.venv}
if [[ $(id -u) == 0 ]]; then default_cache=/var/cache/callsheet; else default_cache=${XDG_CACHE_HOME:-$HOME/.cache}/callsheet; fi
CACHE=${CALLSHEET_CACHE_DIR:-$default_cache}

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 75; }

# A name on PATH may be a shim that runs nothing, so each candidate is asked.
is_good() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
if [[ -z ${PYTHON:-} ]]; then
  for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
    if is_good "$candidate"; then PYTHON=$candidate; break; fi
  done
fi
[[ -n ${PYTHON:-} ]] && is_good "$PYTHON" \
  || fail "no Python 3.11 or newer was found" "install one, or set PYTHON=/path/to/python3"

if [[ ! -x $VENV/bin/python ]]; then
  say "creating $VENV with $("$PYTHON" --version)"
  "$PYTHON" -m venv "$VENV" || fail "the virtual environment could not be made" "on Debian: apt-get install python3-venv"
fi

say "installing the locked dependencies"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

# The wheel of the native decoder is kept outside the checkout, named by its sources and compiler.
if [[ -f native/Cargo.toml ]]; then
  if command -v cargo >/dev/null; then
    sum=$({ cargo --version; "$VENV/bin/python" -c 'import sys; print(sys.version_info[:2])'; find native -type f -not -path '*/target/*' -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-24)
    wheels=$CACHE/native/$sum
    if ! compgen -G "$wheels/*.whl" >/dev/null; then
      say "building the native decoder (about two minutes, once)"
      mkdir -p "$CACHE/native"
      part=$(mktemp -d "$CACHE/native/part.XXXXXX")
      if CARGO_TARGET_DIR="$CACHE/cargo-target" "$VENV/bin/maturin" build --release --quiet --locked \
          --interpreter "$VENV/bin/python" --manifest-path native/Cargo.toml --out "$part" >"$part/log" 2>&1; then
        mv -T "$part" "$wheels" 2>/dev/null || rm -rf "$part"
      else
        say "the native decoder did not build; the slower row path will serve. The compiler said:"
        tail -n 5 "$part/log" >&2
        rm -rf "$part"
      fi
    fi
    if compgen -G "$wheels/*.whl" >/dev/null; then
      "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
    fi
  else
    say "no cargo here: the slower row path decodes (install Rust and run 'make setup' again for the fast one)"
  fi
fi
