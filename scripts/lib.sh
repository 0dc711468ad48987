# shellcheck shell=bash
# What the scripts share. Source it: it moves to the repository's root, settles
# what a bare environment may lack and defines functions.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
umask 022

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# writable tells whether $1 is a directory, made if need be, to write in.
writable() { mkdir -p "$1" 2>/dev/null && [[ -w $1 ]]; }

# settle_environment gives Go, Docker and curl what they need and cron jobs, CI
# runners and `env -i` leave out.
settle_environment() {
  export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"
  have go || PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
  if [[ -z ${TMPDIR:-} ]] || ! writable "$TMPDIR"; then
    export TMPDIR=/tmp
    writable "$TMPDIR" || TMPDIR=$root/build/tmp
    writable "$TMPDIR" || die 'no directory for temporary files: set TMPDIR to one'
  fi
  if [[ -z ${HOME:-} ]]; then
    HOME=$(getent passwd "$UID" 2>/dev/null | cut -d: -f6) || true
  fi
  if [[ -z $HOME ]] || ! writable "$HOME"; then
    HOME=$TMPDIR/flashsale-home-$UID
    writable "$HOME" || die 'no home directory: set HOME to one that can be written'
  fi
  export HOME
  # In a checkout of another owner git refuses, and Go would then refuse to build.
  case " ${GOFLAGS:-} " in
    *' -buildvcs='*) ;;
    *) export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false" ;;
  esac
  local name
  for name in GOCACHE GOMODCACHE; do
    if have go && ! writable "$(go env "$name")"; then
      export "$name=$HOME/.cache/flashsale/$name"
    fi
  done
  # What is asked of this machine must not go through a proxy.
  export NO_PROXY="${NO_PROXY:+$NO_PROXY,}localhost,127.0.0.1"
  export no_proxy="${no_proxy:+$no_proxy,}localhost,127.0.0.1"
}

# temporary_directory makes a directory that the caller has to remove.
temporary_directory() { mktemp -d "$TMPDIR/flashsale.XXXXXXXX"; }

# version prints what this build calls itself. It never fails: git may be
# missing, refuse, or know no tag.
version() { git describe --tags --always --dirty 2>/dev/null || echo dev; }

# as_root runs a command with root's rights, or says why it cannot.
as_root() {
  if [[ $UID -eq 0 ]]; then
    "$@"
  elif have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    say "this needs root, and sudo is not there or asks for a password: $*"
    return 1
  fi
}

# apt_install PACKAGE... installs Debian packages. Another apt-get may hold its
# lock for a while: that is waited for.
apt_install() {
  local try
  have apt-get || return 1
  say "installing $*"
  for try in 1 2 3; do
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" >&2; then
      hash -r
      return
    fi
    say "that did not work (try $try of 3)"
    sleep 5
  done
  return 1
}

# require_command COMMAND PACKAGE sees to it that COMMAND is there.
require_command() {
  if have "$1"; then return; fi
  say "$1 is missing"
  if ! apt_install "$2" || ! have "$1"; then
    die "$1 is missing: install $2 and run this again"
  fi
}

# c_compiler_works tells whether a program that needs the C library compiles.
c_compiler_works() {
  local compiler
  read -ra compiler <<<"$(go env CC)"
  "${compiler[@]}" -x c -include stdlib.h -fsyntax-only - </dev/null 2>/dev/null
}

# require_c_compiler sees to it that cgo has what it needs.
require_c_compiler() {
  if c_compiler_works; then return; fi
  say 'there is no working C compiler, which the race detector needs'
  if ! apt_install gcc libc6-dev || ! c_compiler_works; then
    die 'there is no working C compiler: install gcc and libc6-dev and run this again'
  fi
}

# require_go fails with one clear line when there is no Go.
require_go() { have go || die 'go is missing: install Go (go.mod names the version)'; }

# require_docker fails with one clear line when no daemon answers.
require_docker() {
  have docker || die 'docker is missing: install Docker Engine 20.10 or newer'
  docker version >/dev/null 2>&1 ||
    die 'the Docker daemon does not answer: start it, or see that this user may use it (docker info)'
}

settle_environment
