#!/usr/bin/env bash
# Cancel the jobs of the SLURM that start_slurm.sh started in DIR, then end its daemons, each by its pid file.
set -u
DIR=$1; export SLURM_CONF=$DIR/slurm.conf
timeout 5 squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 5 scancel
for _ in $(seq 80); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
runs() { grep -qs "^Name:[[:space:]]*$2\$" "/proc/$1/status" && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }
for daemon in slurmd slurmctld munged; do
  pid=$(cat "$DIR/$daemon.pid" 2>/dev/null) || continue
  runs "$pid" $daemon && kill "$pid"
  for _ in $(seq 100); do runs "$pid" $daemon || break; sleep 0.1; done
  runs "$pid" $daemon && kill -KILL "$pid"
done
exit 0
