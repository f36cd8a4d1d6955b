#!/bin/sh
# Run as whoever owns the mounted data folder, so that what is left there is theirs. Arguments are Hydra overrides,
# or a python command: python -m softtargets.report data/runs
set -eu
export HOME=/tmp/home
mkdir -p "$HOME"
if [ -r /root/clearml.conf ]; then
  export CLEARML_CONFIG_FILE=/root/clearml.conf
fi
if [ "${1:-}" != python ]; then
  set -- python /app/run.py "$@"
fi
owner=$(stat -c %u:%g /app/data)
if [ "$(id -u)" != 0 ] || [ "$owner" = 0:0 ]; then # docker run --user, or a folder of root's
  exec "$@"
fi
chown "$owner" "$HOME"
if [ -f /root/clearml.conf ]; then # root's own is not readable by others
  export CLEARML_CONFIG_FILE="$HOME/clearml.conf"
  install -m 400 -o "${owner%:*}" -g "${owner#*:}" /root/clearml.conf "$CLEARML_CONFIG_FILE"
fi
exec gosu "$owner" "$@"
