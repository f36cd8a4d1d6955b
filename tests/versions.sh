#!/usr/bin/env bash
# The fast tests with the lowest and with the newest versions of the dependencies that pyproject.toml allows, each in
# a virtual environment of its own: bash tests/versions.sh [lowest-direct|highest] [options of pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONPATH
case "${1:-}" in
  lowest-direct | highest) resolutions=$1 && shift ;;
  *) resolutions="lowest-direct highest" ;;
esac
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/uv"
"$place/uv/bin/pip" install --quiet uv
failed=0
for resolution in $resolutions; do
  python3 -m venv "$place/$resolution"
  "$place/uv/bin/uv" pip install --quiet --python "$place/$resolution" --resolution "$resolution" -e '.[dev]'
  "$place/uv/bin/uv" pip freeze --python "$place/$resolution" --exclude-editable
  if "$place/$resolution/bin/python" -m pytest -ra "$@"; then
    echo "$resolution: passed"
  else
    echo "$resolution: failed" && failed=1
  fi
done
exit $failed
