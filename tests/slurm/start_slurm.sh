#!/usr/bin/env bash
# A private SLURM of one node with 2 CPUs on loopback: no systemd, no accounting, nothing outside DIR.
#   start_slurm.sh DIR && . DIR/env.sh && ... ; stop_slurm.sh DIR        (Debian: slurm-wlm munge)
set -euo pipefail
mkdir -p "$1"
DIR=$(cd "$1" && pwd); PATH=$PATH:/usr/sbin:/sbin
NODE=$(hostname -s); PORT=$((20000 + $$ % 6000 * 2)) # below the ports that systems give to connections
export SLURM_CONF=$DIR/slurm.conf
mkdir -p "$DIR"/{state,spool,log,munge,bin}
chmod 755 "$DIR" "$DIR"/{munge,bin,log,spool}
trap '[ $? = 0 ] || tail -n 5 "$DIR"/log/* >&2' EXIT

(umask 077; head -c 1024 /dev/urandom > "$DIR/munge/key")
munged --key-file="$DIR/munge/key" --socket="$DIR/munge/socket" --pid-file="$DIR/munged.pid" \
       --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed"

cat > "$SLURM_CONF" <<CONF
ClusterName=tests
SlurmctldHost=$NODE(127.0.0.1)
SlurmctldPort=$PORT
SlurmdPort=$((PORT + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# a requeued job starts when its credential has expired
AuthInfo=socket=$DIR/munge/socket,cred_expire=5
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
MaxArraySize=20
MailProg=/bin/true
KillWait=5
EnforcePartLimits=ALL
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
echo "CgroupPlugin=cgroup/v1" > "$DIR/cgroup.conf"   # used by nothing; avoids the probe for v2
case $(slurmctld -V) in *' '2[4-9].*) echo "CgroupPlugin=disabled" > "$DIR/cgroup.conf";; esac

# without accounting there is no sacct; submitit asks it `-o JobID,State,NodeList --parsable2 -j ID [-j ID]...`
cat > "$DIR/bin/sacct" <<'SACCT'
#!/usr/bin/env bash
echo "JobID|State|NodeList"
while [ $# -gt 0 ]; do
  if [ "$1" = -j ]; then
    scontrol -o show job "$2" 2>/dev/null | awk '{
      split("", f); for (i = 1; i <= NF; i++) { p = index($i, "="); k = substr($i, 1, p - 1); if (!(k in f)) f[k] = substr($i, p + 1) }
      task = f["ArrayTaskId"]; if (task ~ /[-,%]/) task = "[" task "]"
      print (task == "" ? f["JobId"] : f["ArrayJobId"] "_" task) "|" f["JobState"] "|" f["NodeList"] }'
  fi
  shift
done
SACCT
chmod 755 "$DIR/bin/sacct"
printf 'export SLURM_CONF=%q PATH=%q:$PATH\n' "$SLURM_CONF" "$DIR/bin" > "$DIR/env.sh"

slurmctld -c
slurmd -c
for _ in $(seq 100); do
  case $(timeout 5 sinfo -h -o %T 2>/dev/null) in idle|mixed|allocated) exit 0;; esac   # "idle*": slurmd silent
  sleep 0.1
done
echo "start_slurm.sh: the node did not come up" >&2
exit 1
