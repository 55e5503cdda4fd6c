#!/usr/bin/env bash
# Trains on a Cloud TPU VM, of one or many workers: creates it, copies this checkout to its workers,
# trains on all of them, fetches the results and deletes it.
#
#   launch/tpu_vm.sh --name=digits --zone=us-west4-a --type=v5litepod-16 \
#     --version=v2-alpha-tpuv5-lite --spot --nfs=10.0.0.2:/share \
#     main --config=configs/cnn.py --workdir=runs/cnn
#
#   --name, --zone, --type, --version   as `gcloud compute tpus tpu-vm create` takes them
#   --spot      a cheaper machine, which may be preempted; it is created again until the run is
#               finished
#   --nfs=SERVER:/SHARE   an NFS share, such as Filestore, that each worker mounts as `runs`: needed
#               for several workers, and for a spot machine, whose disk is lost
#   --dry_run   prints the commands of gcloud
#   main or sweep, and its arguments, with a --workdir=runs/NAME
#   fetch runs/NAME   instead of these: only copies that folder of the machine into this checkout
#   delete      instead of these: only deletes the machine
#
# Ctrl-C or SIGTERM makes the run save and ends this script with 75; the machine stays. The same
# command resumes the run. After a mistake the machine stays too, and costs, until it is deleted.
#
# Tried with a stand-in for gcloud (tests/launch/test_tpu_vm.py); its options were compared with those
# of Google Cloud SDK 528. Never tried: a Cloud TPU.

set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pause=60 # seconds before another attempt

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

say() { printf '%s\n' "$1" >&2; }

# Each word in single quotes, for whichever shell reads it: ssh passes one text, not words.
quoted() {
    local word
    for word in "$@"; do
        printf "'%s' " "${word//\'/\'\\\'\'}"
    done
}

# ---- on a worker: `tpu_vm.sh worker set_up|run|stop`, called through ssh ----

worker_set_up() {
    cd "$root" || return
    PATH=$HOME/.local/bin:$PATH # the machines' own Python is older than 3.11
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh || return
    uv venv -q --allow-existing --python=3.13 .venv || return
    uv pip install -q --python=.venv/bin/python -e '.[tpu]' || return
    mkdir -p runs || return
    if [ -n "${1:-}" ] && ! mountpoint -q runs; then
        command -v mount.nfs >/dev/null || sudo apt-get install -y -qq nfs-common || return
        sudo mount -t nfs "$1" runs || return
        [ -w runs ] || sudo chmod a+rwx runs
    fi
}

# The process keeps the lock as long as it lives. gcloud connects again after it has lost the
# connection, and would start a second process beside the first: that one is stopped instead, and
# with it all workers.
worker_run() {
    cd "$root" || return
    exec 9>.worker.lock
    if ! flock -n 9; then
        worker_stop
        flock 9
        exit 75
    fi
    echo $$ >.worker.pid
    exec .venv/bin/python -m "mnist_jax.$1" "${@:2}"
}

worker_stop() {
    cd "$root" || return
    flock -n .worker.lock true || kill -TERM "$(cat .worker.pid)"
}

if [ "${1:-}" = worker ]; then
    "worker_$2" "${@:3}"
    exit
fi

# ---- here ----

name='' zone='' type='' version='' nfs='' workdir='' spot=() dry_run=false stopped=false
while [ $# -gt 0 ]; do
    case $1 in
        --name=?*) name=${1#*=} ;;
        --zone=?*) zone=${1#*=} ;;
        --type=?*) type=${1#*=} ;;
        --version=?*) version=${1#*=} ;;
        --nfs=?*:/*) nfs=${1#*=} ;;
        --spot) spot=(--spot) ;;
        --dry_run) dry_run=true ;;
        *) break ;;
    esac
    shift
done

# Runs a command of gcloud on the machine, or prints it.
tpu_vm() {
    local words=(gcloud compute tpus tpu-vm "$1" "${@:2}" "--zone=$zone" --quiet)
    if $dry_run; then
        printf '%q ' "${words[@]}"
        echo
    else
        "${words[@]}"
    fi
}

# Calls one of the functions above on a worker, or on `all`.
on_worker() { tpu_vm ssh "$name" "--worker=$1" "--command=bash mnist_jax/launch/tpu_vm.sh worker $(quoted "${@:2}")"; }

# Prints the machine's state, or MISSING.
state() {
    local found
    if $dry_run; then
        echo "${dry_state:-MISSING}"
    elif found=$(tpu_vm describe "$name" '--format=value(state)' 2>&1); then
        tail -n 1 <<<"$found"
    elif grep -q NOT_FOUND <<<"$found"; then
        echo MISSING
    else
        say "$found"
        return 1
    fi
}

create() {
    local said
    say "Creating $name, which takes some minutes."
    while true; do
        said=$(tpu_vm create "$name" "--accelerator-type=$type" "--version=$version" \
            ${spot[@]+"${spot[@]}"} 2>&1) && break
        say "$said"
        grep -qi 'capacity' <<<"$said" && ! $stopped || return 1
        say "No such machine is free. Another attempt follows in $pause seconds."
        sleep "$pause"
    done
    $dry_run && printf '%s\n' "$said"
    dry_state=READY
}

delete() { tpu_vm delete "$name"; }

# Waits until the machine is ready, and creates it where it is missing or was preempted.
prepare() {
    local now
    while ! $stopped; do
        now=$(state) || return 1
        case $now in
            READY) return 0 ;;
            MISSING) create || return 1 ;;
            PREEMPTED | TERMINATED)
                say "$name was preempted, and is created again."
                delete || return 1
                ;;
            STOPPED) fail "$name is stopped: gcloud compute tpus tpu-vm start $name --zone=$zone" ;;
            *) sleep "$pause" ;; # CREATING, REPAIRING, DELETING, ...
        esac
    done
}

# Copies the files of this checkout to all workers, but not those that git ignores, and installs them.
copy() {
    local archive status
    archive=$(mktemp) || return
    (
        cd "$root" && git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do
                if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
            done | tar --null -T - -czf "$archive"
    ) && tpu_vm scp "$archive" "$name:mnist_jax.tar.gz" --worker=all &&
        tpu_vm ssh "$name" --worker=all \
            --command="mkdir -p mnist_jax && tar -xzf mnist_jax.tar.gz -C mnist_jax" &&
        on_worker all set_up "$nfs"
    status=$?
    rm -f "$archive"
    return "$status"
}

# Runs the command on all workers, until it ends or is stopped.
run() {
    local status
    set -m # a process group of its own: Ctrl-C must not reach gcloud, which would lose the workers
    on_worker all run "$@" </dev/null &
    running=$!
    set +m
    while true; do
        interrupted=false
        wait "$running"
        status=$?
        $interrupted || break # otherwise the signal ended `wait`, not the run
        say "Stopping: the run is being saved."
        on_worker 0 stop # it tells the others
    done
    running=
    return "$status"
}

fetch() {
    local command
    command="tar -C mnist_jax -cz $(quoted "$1")"
    if $dry_run; then
        tpu_vm ssh "$name" --worker=0 "--command=$command"
    else
        tpu_vm ssh "$name" --worker=0 "--command=$command" | tar -xzf - -C "$root"
    fi
}

refuse_lost_results() {
    local argument
    if [ ${#spot[@]} -gt 0 ] && [ -z "$nfs" ]; then
        fail "the disk of a spot machine is lost with it: give --nfs=SERVER:/SHARE for its results"
    fi
    for argument in "$@"; do
        case $argument in --workdir=*) workdir=${argument#*=} ;; esac
    done
    case $workdir in
        */../* | */..) ;;
        runs/?*) return ;;
    esac
    fail "give --workdir=runs/NAME after $1: the folder runs is what is kept and fetched"
}

train() {
    local status
    while true; do
        prepare || fail "$name cannot be created or described; gcloud says why above"
        $stopped || { copy && run "$@"; }
        status=$?
        if $stopped; then
            say "Stopped. The same command resumes the run. The machine $name stays, and costs: $0"
            say "  --name=$name --zone=$zone delete"
            exit 75
        fi
        [ "$status" -ne 0 ] || break
        if [ "$status" -ne 75 ] && [ "$(state)" = READY ]; then
            say "error: the run ended with status $status. The machine $name stays, and costs: $0"
            say "  --name=$name --zone=$zone delete"
            exit "$status"
        fi
        say "The run is not finished, and goes on."
    done
    fetch "$workdir" || fail "the run is finished, but was not fetched: $0 --name=$name --zone=$zone fetch $workdir"
    delete
}

trap 'stopped=true; interrupted=true' TERM INT HUP
[ -n "$name" ] && [ -n "$zone" ] || fail "give --name=NAME and --zone=ZONE; the head of $0 has an example"
case "${1:-}" in
    main | sweep)
        [ -n "$type" ] && [ -n "$version" ] || fail "give --type=TYPE and --version=VERSION"
        refuse_lost_results "$@"
        train "$@"
        ;;
    fetch) fetch "${2:?a folder such as runs/NAME}" ;;
    delete) delete ;;
    *) fail "expected main, sweep, fetch or delete, got '${1:-}'" ;;
esac
