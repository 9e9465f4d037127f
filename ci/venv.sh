# Sourced by the scripts in ci/: makes the virtual environment and installs into it.
#
#   python=$(ci_venv EXTRAS [torch])    prints the path of the environment's Python
#
# Set CLGRAD_VENV for another folder than .venv-ci, PYTHON for a certain interpreter.
# Nothing here needs root. What is installed already is not installed again: a stamp in the
# environment holds the digest of pyproject.toml and of what was asked for.

TORCH_VERSION=2.13.0

ci_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "ci: no Python >= 3.10 found. Hint: name one, PYTHON=/path/to/python3." >&2
    return 1
}

ci_make_venv() { # folder
    local host
    host=$(ci_python) || return
    if [ -n "$(ls -A "$1" 2>/dev/null)" ]; then
        echo "ci: $1 holds files but no environment. Hint: another CLGRAD_VENV, or remove it." >&2
        return 1
    fi
    echo "ci: new environment $1 from $("$host" --version)" >&2
    "$host" -m venv "$1" >/dev/null 2>&1 && return
    # Debian's Python comes without ensurepip: let the host's pip install into the environment.
    rm -rf "$1"
    if "$host" -m venv --without-pip "$1" \
        && "$host" -m pip --python "$1/bin/python" install --quiet pip >&2; then
        return
    fi
    rm -rf "$1"
    echo "ci: $host can make no virtual environment. Hint: install its venv or pip module." >&2
    return 1
}

ci_install_torch() { # python
    "$1" -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$TORCH_VERSION')" \
        2>/dev/null && return
    # The CPU build is a tenth of the size of the default one, but its index is not always
    # reachable; no retries, so that this is known at once.
    "$1" -m pip install --quiet --retries 0 --timeout 15 \
        --index-url https://download.pytorch.org/whl/cpu "torch==$TORCH_VERSION" >&2 2>/dev/null ||
        "$1" -m pip install --quiet "torch==$TORCH_VERSION" >&2
}

ci_venv() { # extras [torch]
    local root venv python want stamp
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    venv=${CLGRAD_VENV:-$root/.venv-ci}
    python=$venv/bin/python
    [ -x "$python" ] || ci_make_venv "$venv" || return
    want="$root $(cksum <"$root/pyproject.toml") $*"
    stamp=$venv/.clgrad-${1//,/-}${2:+-$2}
    if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        # torch first: then its index, where packages are old, decides about nothing else
        if [ "${2:-}" = torch ]; then ci_install_torch "$python" || return; fi
        "$python" -m pip install --quiet --editable "$root[$1]" >&2 || return
        echo "$want" >"$stamp"
    fi
    echo "$python"
}
