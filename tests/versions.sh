#!/usr/bin/env bash
# The fast tests with the lowest and with the newest versions that pyproject.toml allows, each in a virtual environment
# of its own, torch among them. By hand: each torch is a download of gigabytes, and 8 GB of disk while it is tested.
#
#   bash tests/versions.sh [lowest-direct|highest] [options of pytest]
#
# The lowest versions are tested with the oldest Python that is found, the newest with the newest one;
# PYTHON=/path/to/python chooses another one for both.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONPATH
case "${1:-}" in
  lowest-direct | highest) resolutions=$1 && shift ;;
  *) resolutions="lowest-direct highest" ;;
esac
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# a name may be a shim of pyenv's without a Python behind it
pythons=()
for minor in 11 12 13 14; do
  if "python3.$minor" -c "import venv" 2> /dev/null; then
    pythons+=("python3.$minor")
  fi
done
if [ ${#pythons[@]} -eq 0 ] && [ -z "${PYTHON:-}" ]; then
  echo "no Python from 3.11 to 3.14 on PATH: give one, as in PYTHON=/path/to/python bash tests/versions.sh" >&2
  exit 2
fi

report=()
for resolution in $resolutions; do
  python=${PYTHON:-${pythons[0]}}
  if [ "$resolution" = highest ]; then python=${PYTHON:-${pythons[-1]}}; fi
  home=$place/$resolution
  "$python" -m venv "$home"
  "$home/bin/pip" install --quiet uv
  "$home/bin/uv" pip install --quiet --python "$home" --resolution "$resolution" -e '.[dev]'
  "$home/bin/uv" pip freeze --python "$home" --exclude-editable
  versions=$("$home/bin/python" -c "import platform, torch; print('Python', platform.python_version() + ', torch', torch.__version__)")
  if "$home/bin/python" -m pytest -ra "$@"; then verdict=passed; else verdict=failed; fi
  report+=("$resolution, $versions: $verdict")
  rm -rf "$home"
done
printf '%s\n' "${report[@]}"
[[ ${report[*]} != *": failed"* ]]
