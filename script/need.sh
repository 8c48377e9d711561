# Sourced by the scripts beside it: finds what a step needs, installs it where this user may.
#
#   need PACKAGE COMMAND [WHY]   a command, or a file by its whole path, that must be there
#   want PACKAGE COMMAND [WHY]   one that a step does without, and says so
#   install_what_is_missing      by apt where this is root on Debian or Ubuntu; else says what to type
#
# Exit 2 where something that must be there is not and may not be installed.

must_packages=""
want_packages=""

is_there() { command -v "$1" >/dev/null 2>&1 || [ -e "$1" ]; }

need() {
  ! is_there "$2" || return 0
  echo "missing: $2${3:+ ($3)}" >&2
  must_packages="$must_packages $1"
}

want() {
  ! is_there "$2" || return 0
  echo "missing: $2${3:+ ($3)}" >&2
  want_packages="$want_packages $1"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # The lists may be absent (a fresh image has none) or too old for what the mirror holds now.
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $1 >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $1 >/dev/null; }
}

install_what_is_missing() {
  [ -n "$must_packages$want_packages" ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$must_packages$want_packages" >&2
    [ -z "$want_packages" ] || apt_install "$want_packages" || echo "could not install:$want_packages; going on without" >&2
    [ -z "$must_packages" ] || apt_install "$must_packages" || { echo "could not install:$must_packages" >&2; exit 2; }
    return 0
  fi
  echo "This user may not install packages. Ask for, or type as root:" >&2
  echo "    apt-get install --no-install-recommends$must_packages$want_packages" >&2
  [ -z "$must_packages" ] || exit 2
  echo "Going on without:$want_packages. What needs them is skipped, and says so." >&2
}

need_rust() {
  command -v cargo >/dev/null 2>&1 && return 0
  [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ] || { PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; export PATH; return 0; }
  echo "cargo is not on the path. Install Rust ($(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer), then run this again." >&2
  exit 2
}
