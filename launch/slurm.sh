#!/usr/bin/env bash
# Trains in the tasks of a Slurm job, and queues the job again until the run is finished.
#
#   sbatch --nodes=4 launch/slurm.sh main --config=configs/mlp.py --workdir=runs/mlp
#   sbatch --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 launch/slurm.sh sweep --config=FILE
#   bash launch/slurm.sh --dry_run main --config=configs/mlp.py
#
# The first word is the command, `main` or `sweep`, and the others are its arguments; `--dry_run`
# prints what would be run. Options of sbatch come before the script and replace those below.
# Submit from a folder that all nodes share, with the environment of mnist_jax active. Each task is
# a process of JAX, which gives it one of its node's GPUs: ask for as many tasks as GPUs. Since Slurm
# 22.05 srun does not take --cpus-per-task from sbatch; this script passes it on.
#
# Before the time limit, or where another job takes precedence, Slurm sends SIGTERM to the tasks.
# They save and exit with 75, or with 143 where they have only begun to start; then this script queues
# the job again, which resumes the run. `scancel` also lets the tasks save, but ends the job; the same
# sbatch command resumes it. Every other status ends the job: it is a mistake to correct, or 0.
#
# Tried with Slurm 22.05, on one machine that posed as two nodes: the time limit, preemption, scancel.
# Not tried: a real cluster, GPUs, other versions.

#SBATCH --job-name=mnist_jax
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -uo pipefail

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

dry_run=false
if [ "${1:-}" = --dry_run ]; then
    dry_run=true
    shift
fi
case "${1:-}" in
    main | sweep) ;;
    *) fail "expected main or sweep, got '${1:-}': sbatch launch/slurm.sh main --config=FILE" ;;
esac

# A task that ends must not take along those that still save; five minutes suffice for that. With
# every GPU of the node in sight, JAX chooses one by the task's number on the node.
tasks=(srun --kill-on-bad-exit=0 --wait=300 --gpu-bind=none
    ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"} python -m "mnist_jax.$1" "${@:2}")
if $dry_run; then
    printf '%q ' "${tasks[@]}"
    echo
    exit 0
fi

[ -n "${SLURM_JOB_ID:-}" ] || fail "this is no Slurm job: submit it with sbatch launch/slurm.sh"
gpus=${SLURM_GPUS_ON_NODE:-0} count=${SLURM_NTASKS_PER_NODE:-1}
if [ "$gpus" -gt 0 ] && [ "$gpus" -ne "$count" ]; then
    fail "each task uses one GPU, and the node has $gpus for $count: add --ntasks-per-node=$gpus to sbatch"
fi

stopped=false
trap 'stopped=true; interrupted=true; kill -TERM "${srun:-}" 2>/dev/null' TERM INT
"${tasks[@]}" &
srun=$!
if $stopped; then kill -TERM "$srun"; fi # the signal came before the line above
while true; do
    interrupted=false
    wait "$srun"
    status=$?
    $interrupted || break # otherwise the signal ended `wait`, not srun
done

# A task that had no handler yet was ended by Slurm's signal, and has nothing to save.
if [ "$status" -eq 143 ] && ! $stopped; then status=75; fi
if [ "$status" -ne 75 ]; then
    exit "$status"
fi
# Slurm signals this script only where the job is to end: by scancel, or at the time limit itself.
if $stopped; then
    echo "The job was stopped, and the run is saved; the same sbatch command resumes it."
    exit 75
fi
echo "The run is saved, and the job is queued again."
scontrol requeue "$SLURM_JOB_ID" && exit 75
printf 'error: job %s cannot be queued again; submit it with the same command\n' "$SLURM_JOB_ID" >&2
exit 75
