#!/bin/sh
# Make this machine ready to run and test pymer4: R with its packages, and a Python environment.
#
#   setup.sh          all of it
#   setup.sh lint     mypy and ruff alone, without R
#   setup.sh docs     what builds the site (the extra docs), on top of all of it
#   setup.sh bench    a peer to be timed beside pymer4, likewise
#   setup.sh peers    what bench/peers.txt names, in .venv-peers
#   setup.sh oldest   pymer4 with the oldest packages that pyproject.toml allows, in .venv-oldest
#   setup.sh release  what builds and checks a release, in .venv-release; without R
#
# With mamba, conda or micromamba on the PATH everything comes from environment.yml, into .conda.
# Else apt brings what the system lacks, and pip the rest, into .venv. What is there already is used
# as it is, and a second run only compares a stamp. VIA=apt or VIA=conda overrides the choice.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
r_packages='lme4 lmerTest emmeans pbkrtest jsonlite lattice'
# What only tests compare with, where this Debian has it.
r_compared='performance sandwich clubSandwich boot'

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Say what is wrong, then the lines to type, and end.
stop() {
    say "$1"
    shift
    [ $# = 0 ] || printf '    %s\n' "$@" >&2
    exit 1
}

# ---- R

debian_names() { for package in "$@"; do printf ' r-cran-%s' "$package" | tr '[:upper:]' '[:lower:]'; done; }

install_line() {
    names=$(printf '"%s", ' "$@")
    printf "Rscript -e 'install.packages(c(%s), repos = \"https://cloud.r-project.org\")'" "${names%, }"
}

missing_r_packages() {
    Rscript -e 'cat(Filter(function(p) !nzchar(system.file(package = p)), commandArgs(TRUE)))' "$@"
}

# Does apt look after the R that is here?
debian_r() { have apt-get && [ "$(R RHOME)" = /usr/lib/R ]; }

# rpy2-rinterface uses a function of R 4.5 from 3.6.6 on.
rpy2_requirement() {
    Rscript -e 'cat(if (getRversion() < "4.5") "rpy2-rinterface<3.6.6" else "rpy2-rinterface")'
}

# ---- Python

need_python() {
    have "$python" || stop "$python was not found. Name the Python to use:" "make setup PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        stop "$("$python" -V) is too old, 3.10 is needed. Name a newer one:" "make setup PYTHON=python3.12"
}

can_make_venv() { "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; }

can_compile() {
    have cc && "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

# Name the Debian package that goes with this very Python: "venv" gives python3.11-venv.
debian_python() { "$python" -c 'import sys; print("python%d.%d-" % sys.version_info[:2] + sys.argv[1])' "$1"; }

make_venv() {
    if [ -x .venv/bin/python ] && [ "$(.venv/bin/python -V)" = "$("$python" -V)" ] && .venv/bin/python -m pip -V >/dev/null
    then
        return
    fi
    rm -rf .venv
    "$python" -m venv .venv
}

pip_install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" </dev/null; }

# ---- the system's packages

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null >&2; }

# apt-cache shows nothing, and is content, where other packages only speak of one.
known_to_apt() { for package in "$@"; do [ -z "$(apt-cache show "$package" 2>/dev/null)" ] || printf ' %s' "$package"; done; }

# Install Debian packages, or end with the lines to type; and those in `compared` that this Debian has.
system_install() {
    if ! have apt-get; then
        # shellcheck disable=SC2086
        stop "neither apt nor conda is here. Install R, a compiler and a Python with venv, then type" \
            "$(install_line $r_packages)" "make setup"
    fi
    can_be_root ||
        stop "some packages are missing. As root, type" "apt-get update" "apt-get install -y --no-install-recommends $*"
    apt update || say "going on with old package lists"
    # shellcheck disable=SC2046,SC2086
    set -- "$@" $(known_to_apt $compared)
    [ $# = 0 ] || say "installing $*"
    [ $# = 0 ] || apt install -y --no-install-recommends "$@"
}

# Bring what the system lacks, in one go.
need_system() {
    wanted=''
    compared=''
    can_make_venv || wanted="$wanted $(debian_python venv)"
    if [ "$1" = all ]; then
        can_compile || ! have apt-get || wanted="$wanted gcc libc6-dev $(debian_python dev)"
        need_r
    fi
    # shellcheck disable=SC2086
    [ -z "$wanted$compared" ] || system_install $wanted
    can_make_venv || stop "$python can't make virtual environments. Name another:" "make setup PYTHON=/usr/bin/python3"
}

# Add to `wanted` and `compared` what R lacks.
# shellcheck disable=SC2046,SC2086
need_r() {
    if ! have Rscript; then
        wanted="$wanted r-base-core r-base-dev$(debian_names $r_packages)"
        compared=$(debian_names $r_compared)
        return
    fi
    missing=$(missing_r_packages $r_packages)
    if [ -n "$missing" ]; then
        debian_r || stop "R lacks $missing. Type" "$(install_line $missing)"
        wanted="$wanted$(debian_names $missing)"
    fi
    if debian_r && can_be_root; then compared=$(debian_names $(missing_r_packages $r_compared)); fi
}

# ---- the two ways

# What an environment depends on; when any of it changes, it is set up anew.
fingerprint() {
    pwd
    cksum pyproject.toml environment.yml scripts/setup.sh
    "$1/bin/python" -V
    R --version 2>/dev/null | head -n 1
}

ready() { [ -x "$1/bin/python" ] && [ -f "$1/setup-stamp" ] && [ "$(fingerprint "$1")" = "$(cat "$1/setup-stamp")" ]; }

setup_by_conda() {
    PATH="$PWD/.conda/bin:$PATH"
    ready .conda && return
    say "making .conda from environment.yml with $conda"
    verb=create
    [ ! -x .conda/bin/python ] || verb=update
    [ "$conda" = micromamba ] || verb="env $verb"
    # shellcheck disable=SC2086
    CONDA_ALWAYS_YES=1 MAMBA_ALWAYS_YES=1 "$conda" $verb -p "$PWD/.conda" -f environment.yml </dev/null >&2 ||
        stop "$conda could not make the environment. To use the system's R instead, type" "make demo VIA=apt"
    printf '*\n' >.conda/.gitignore
    .conda/bin/python -m pip install --quiet --no-deps --no-build-isolation -e . </dev/null
    fingerprint .conda >.conda/setup-stamp
}

setup_by_pip() {
    ready .venv && return
    need_python
    need_system all
    make_venv
    say "installing pymer4 and what it needs into .venv"
    # pip keeps what it built, and a build for another R must not come back.
    rpy2=$(rpy2_requirement)
    .venv/bin/python -c 'import rpy2.rinterface as ri; ri.initr()' >/dev/null 2>&1 ||
        pip_install --force-reinstall --no-cache-dir "$rpy2"
    pip_install -e '.[test]' "$rpy2"
    pip_install --only-binary :all: -e '.[dask]' || say "going on without dask, of which this Python has no wheels"
    fingerprint .venv >.venv/setup-stamp
}

setup_lint() {
    tools=$(sed -n 's/^test = .*"\(mypy[^"]*\)".*"\(ruff[^"]*\)".*/\1 \2/p' pyproject.toml)
    ready .conda || ready .venv || [ "$(cat .venv/lint-stamp 2>/dev/null)" = "$tools" ] && return
    need_python
    need_system venv
    make_venv
    # shellcheck disable=SC2086
    pip_install $tools
    printf '%s\n' "$tools" >.venv/lint-stamp
}

# What an extra of pyproject.toml asks for; the comma within "polars>=1.26,<2" stays.
requirements_of() { sed -n "/^$1 = \[/ { s/^[^[]*\[\(.*\)\]\$/\1/; s/\", /\" /g; s/\"//g; p; }" pyproject.toml; }

# Bring what one target alone needs: an extra. pip leaves alone what is there.
setup_extra() {
    requirements=$(requirements_of "$1")
    # shellcheck disable=SC2086
    scripts/run.sh python -m pip install --quiet --disable-pip-version-check $requirements </dev/null
}

# Other packages for mixed models, in an environment of their own that sees pymer4's too.
setup_peers() {
    [ -x .venv-peers/bin/python ] || "$python" -m venv .venv-peers
    place='import sysconfig; print(sysconfig.get_path("purelib"))'
    printf 'import site; site.addsitedir("%s")\n' "$(scripts/run.sh python -c "$place")" \
        >"$(.venv-peers/bin/python -c "$place")/pymer4_environment.pth"
    .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt </dev/null
}

# An environment of its own: $1, unless it is there and this Python's.
venv_at() {
    [ -x "$1/bin/python" ] && [ "$("$1/bin/python" -V)" = "$("$python" -V)" ] || { rm -rf "$1" && "$python" -m venv "$1"; }
}

# The lowest versions of all that is named; what these ask for in turn is the newest.
setup_oldest() {
    ready .venv-oldest && return
    need_python
    venv_at .venv-oldest
    say "installing the oldest packages that pyproject.toml allows into .venv-oldest"
    .venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check uv </dev/null
    .venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct \
        -e '.[r,test,dask]' </dev/null
    fingerprint .venv-oldest >.venv-oldest/setup-stamp
}

# cffconvert asks for an old jsonschema, so these stay away from the rest.
setup_release() {
    need_python
    need_system venv
    venv_at .venv-release
    tools=$(requirements_of release)
    [ "$(cat .venv-release/stamp 2>/dev/null)" = "$tools" ] && return
    # shellcheck disable=SC2086
    .venv-release/bin/python -m pip install --quiet --disable-pip-version-check $tools </dev/null
    printf '%s\n' "$tools" >.venv-release/stamp
}

conda=''
for tool in mamba conda micromamba; do
    [ -n "$conda" ] || [ "${VIA:-}" = apt ] || ! have "$tool" || conda=$tool
done
[ "${VIA:-}" != conda ] || [ -n "$conda" ] || stop "VIA=conda needs mamba, conda or micromamba on the PATH."

case ${1:-all} in
all) if [ -n "$conda" ]; then setup_by_conda; else setup_by_pip; fi ;;
lint) setup_lint ;;
docs) setup_extra docs ;;
bench) setup_extra bench ;;
peers) setup_peers ;;
oldest) setup_oldest ;;
release) setup_release ;;
*) stop "there is no '$1' to set up: all, lint, docs, bench, peers, oldest or release." ;;
esac
