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
#               for several workers (a TYPE that ends in more than 8), and for a spot machine, whose
#               disk is lost
#   --dry_run   prints the commands of gcloud
#   main or sweep, and its arguments, with a --workdir=runs/NAME
#   fetch runs/NAME   instead of these: only copies that folder of the machine into this checkout
#   delete      instead of these: only deletes the machine
#   --help      prints this
#
# Ctrl-C, SIGTERM or SIGHUP makes the run save and ends this script with 75; the machine stays. The
# same command resumes the run. After a mistake the machine stays too, and costs, until it is deleted.
#
# A run that has saved and ended with 75, as all processes do when one is lost, goes on. After three
# attempts in a row of less than ten minutes each it does not: a process may be killed in each of them,
# for example because memory ran out. After a lost connection the machine's state decides: it is created
# again, or the run goes on. A machine that is created again installs the newest packages that
# pyproject.toml allows, so they may differ from those with which the run began.
#
# The workers find each other through a port of worker 0: JAX uses 8482 (in some versions 8476), or what
# JAX_COORDINATOR_PORT says in the environment of all workers. The network's firewall must let it through
# between them, and ssh from here. In a sweep each worker uses its own four chips.
#
# Tried with a stand-in for gcloud (tests/launch/test_tpu_vm.py); its options were compared with those
# of Google Cloud SDK 528. Never tried: a Cloud TPU.

set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pause=60     # seconds before another attempt
brief=600    # an attempt that takes fewer seconds than this may fail in the same way again
most_brief=3 # so many of them in a row end it
most_lost=10 # so many lost connections in a row end it; a preemption may show only minutes later
tries=5      # of what must not fail by chance while the machine costs

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() { printf '%s\n' "$*" >&2; }

# Each word in single quotes, for whichever shell reads it: ssh passes one text, not words.
quoted() {
    local word
    for word in "$@"; do
        printf "'%s' " "${word//\'/\'\\\'\'}"
    done
}

# ---- on a worker: `tpu_vm.sh worker set_up|run|stop`, called through ssh ----

worker_set_up() {
    local patient=(-qq -o DPkg::Lock::Timeout=300) # a new machine installs updates at first
    cd "$root" || return
    rm -f .worker.stopped
    PATH=$HOME/.local/bin:$PATH # the machines' own Python is older than 3.11
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh || return
    uv venv -q --allow-existing --python=3.13 .venv || return
    uv pip install -q --python=.venv/bin/python -e '.[tpu]' || return
    mkdir -p runs || return
    if [ -n "${1:-}" ] && ! mountpoint -q runs; then
        if ! command -v mount.nfs >/dev/null; then
            sudo apt-get "${patient[@]}" update # where this fails, the old lists may do
            sudo apt-get "${patient[@]}" install -y nfs-common || return
        fi
        sudo mount -t nfs "$1" runs || return
        [ -w runs ] || sudo chmod a+rwx runs
    fi
}

# The process keeps the lock as long as it lives. gcloud connects again after it has lost the
# connection, and would start a second process beside the first: that one is stopped instead, and
# with it all workers.
worker_run() {
    local chips
    cd "$root" || return
    exec 9>.worker.lock
    if ! flock -n 9; then
        worker_stop
        flock 9
        exit 75
    fi
    echo $$ >.worker.pid
    [ ! -e .worker.stopped ] || exit 75
    # Otherwise JAX makes one machine of the chips of all workers, which a sweep refuses. Every machine
    # of several workers has four chips on each.
    chips=$(find /dev -maxdepth 2 '(' -path '/dev/accel[0-9]*' -o -path '/dev/vfio/[0-9]*' ')' 2>/dev/null)
    if [ "$1" = sweep ] && [ "$(grep -c . <<<"$chips")" -eq 4 ]; then
        export TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_VISIBLE_CHIPS=0,1,2,3
    fi
    exec .venv/bin/python -m "mnist_jax.$1" "${@:2}"
}

# A process that has not begun yet sees the file, and ends.
worker_stop() {
    cd "$root" || return
    touch .worker.stopped
    flock -n .worker.lock true || kill -TERM "$(cat .worker.pid)"
}

if [ "${1:-}" = worker ]; then
    "worker_$2" "${@:3}"
    exit
fi

# ---- here ----

name='' zone='' type='' version='' nfs='' workdir='' spot=() dry_run=false
archive=''    # the packed files of this checkout
now=''        # the machine's state, when it was last asked for
costs=false   # whether there may be a machine
stopped=false # whether this script was asked to stop
signals=0     # how often
told=false    # whether the workers were told so
running=''    # the process that waits for the workers
short=0       # brief attempts in a row
lost=0        # lost connections in a row
while [ $# -gt 0 ]; do
    case $1 in
        --name=?*) name=${1#*=} ;;
        --zone=?*) zone=${1#*=} ;;
        --type=?*) type=${1#*=} ;;
        --version=?*) version=${1#*=} ;;
        --nfs=?*:/*) nfs=${1#*=} ;;
        --spot) spot=(--spot) ;;
        --dry_run) dry_run=true ;;
        --help | -h)
            sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit
            ;;
        *) break ;;
    esac
    shift
done
this="$0 --name=$name --zone=$zone"

# Waits before another attempt; a signal ends the wait.
rest() {
    local sleeping
    sleep "$pause" >/dev/null 2>&1 &
    sleeping=$!
    wait "$sleeping" || { kill "$sleeping" && wait "$sleeping"; } 2>/dev/null
}

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

# Calls one of the functions above on a worker, or on `all`. A connection that says nothing for two
# minutes is lost: without these flags ssh would wait for a preempted machine for ever.
on_worker() {
    tpu_vm ssh "$name" "--worker=$1" --ssh-flag=-oServerAliveInterval=30 \
        --ssh-flag=-oServerAliveCountMax=4 \
        "--command=bash mnist_jax/launch/tpu_vm.sh worker $(quoted "${@:2}")"
}

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

# Sets `now` to the machine's state, and asks again where there is no answer.
ask() {
    local failures=0
    until now=$(state); do
        failures=$((failures + 1))
        if $stopped || [ "$failures" -ge "$tries" ]; then return 1; fi
        say "Another question follows in $pause seconds."
        rest
    done
    [ "$now" = MISSING ] || costs=true
}

create() {
    local said
    say "Creating $name, which takes some minutes."
    short=0 lost=0
    while ! $stopped; do
        costs=true
        if said=$(tpu_vm create "$name" "--accelerator-type=$type" "--version=$version" \
            ${spot[@]+"${spot[@]}"} 2>&1); then
            if $dry_run; then printf '%s\n' "$said"; fi
            dry_state=READY
            return 0
        fi
        say "$said"
        grep -qi 'capacity' <<<"$said" || return 1
        $stopped || say "No such machine is free. Another attempt follows in $pause seconds."
        rest
    done
}

delete() { tpu_vm delete "$name"; }

# Deletes the machine, and tries again where that fails.
remove() {
    local attempt
    for ((attempt = 0; attempt < tries; attempt++)); do
        if delete || { ask && [ "$now" = MISSING ]; }; then
            costs=false
            return 0
        fi
        rest
    done
    return 1
}

# Waits until the machine is ready, and creates it where it is missing or was preempted.
prepare() {
    local before=''
    while ! $stopped; do
        ask || return 1
        case $now in
            READY) return 0 ;;
            MISSING) create || return 1 ;;
            PREEMPTED | TERMINATED)
                [ -n "$nfs" ] || fail "$name is $now, and its disk may hold the only copy of the run." \
                    "Start it (gcloud compute tpus tpu-vm start $name --zone=$zone)" \
                    "and call: $this fetch $workdir; then: $this delete"
                say "$name was preempted, and is created again."
                remove || return 1
                ;;
            STOPPED) fail "$name is stopped: gcloud compute tpus tpu-vm start $name --zone=$zone" ;;
            *) # CREATING, REPAIRING, DELETING, ...
                [ "$now" = "$before" ] || say "$name is $now, and is waited for."
                rest
                ;;
        esac
        before=$now
    done
}

# Packs the files of this checkout, but not those that git ignores: once, so that a machine that is
# created again continues with the same files.
pack() {
    archive=$(mktemp) || return
    (
        cd "$root" && git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do
                if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
            done | tar --null -T - -czf "$archive"
    )
}

# Copies them to all workers, and installs them.
copy() {
    tpu_vm scp "$archive" "$name:mnist_jax.tar.gz" --worker=all &&
        tpu_vm ssh "$name" --worker=all \
            --command="mkdir -p mnist_jax && tar -xzf mnist_jax.tar.gz -C mnist_jax" &&
        on_worker all set_up "$nfs"
}

tell() {
    told=true
    say "Stopping: the run is being saved."
    on_worker 0 stop # it tells the others
}

# Called by a signal.
stop() {
    stopped=true
    signals=$((signals + 1))
    if [ -n "$running" ]; then tell; fi
}

# Runs the command on all workers, until it ends or is stopped.
run() {
    local status before
    set -m # a process group of its own: Ctrl-C must not reach gcloud, which would lose the workers
    on_worker all run "$@" </dev/null &
    running=$!
    set +m
    if $stopped && ! $told; then tell; fi # the signal came before the lines above
    while true; do
        before=$signals
        wait "$running"
        status=$?
        [ "$signals" -ne "$before" ] || break # otherwise a signal ended `wait`, not the run
    done
    running=''
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

refuse_mistakes() {
    local file
    case ${type##*-} in
        *[!0-9]* | '') ;;
        *)
            if [ "${type##*-}" -gt 8 ] && [ -z "$nfs" ]; then
                fail "$type has several workers, which share the folder of the run: give --nfs=SERVER:/SHARE"
            fi
            ;;
    esac
    for file in config.json sweep.json; do
        if [ -e "$root/$workdir/$file" ]; then
            fail "$workdir holds a run already, with which the fetched files would be mixed:" \
                "move it elsewhere, or give another --workdir=runs/NAME"
        fi
    done
    pack || fail "the files of this checkout cannot be packed; git or tar says why above"
}

# What is left behind, at the end of this script.
leave() {
    rm -f "$archive"
    if $costs; then say "$name may exist, and costs: $this delete"; fi
}

train() {
    local status began attempt
    while true; do
        prepare || $stopped || fail "$name cannot be created, described or deleted; gcloud says why above"
        status=255
        if ! $stopped && copy && ! $stopped; then
            began=$(date +%s)
            run "$@"
            status=$?
            if [ $(($(date +%s) - began)) -ge "$brief" ]; then short=0 lost=0; fi
        fi
        [ "$status" -ne 0 ] || break # even where it was asked to stop: it was finished by then
        if $stopped; then
            say "Stopped. The same command resumes the run."
            exit 75
        fi
        ask || $stopped || fail "$name cannot be described; gcloud says why above"
        if [ "$now" = READY ]; then
            go_on_after "$status"
        fi
        $stopped || say "The run is not finished, and goes on."
    done
    for ((attempt = 0; attempt < tries; attempt++)); do
        if fetch "$workdir"; then
            remove || fail "the run is finished and fetched, but $name could not be deleted"
            return
        fi
        rest
        if [ -n "$nfs" ] && ! $stopped; then prepare && copy; fi # it may have been preempted
    done
    fail "the run is finished, but was not fetched: $this fetch $workdir"
}

# Ends this script if a further attempt on the same machine would not help.
go_on_after() {
    case $1 in
        75)
            short=$((short + 1))
            if [ "$short" -ge "$most_brief" ]; then
                say "error: $short attempts in a row ended within $((brief / 60)) minutes each, with" \
                    "status 75. Was a process killed, for example because memory ran out?" \
                    "The same command goes on."
                exit 1
            fi
            ;;
        255)
            lost=$((lost + 1))
            [ "$lost" -lt "$most_lost" ] || fail "the connection was lost, or the machine could not be" \
                "set up, $lost times in a row; gcloud says why above"
            say "The connection was lost, or the machine could not be set up." \
                "Another attempt follows in $pause seconds."
            rest
            ;;
        *)
            say "error: the run ended with status $1"
            exit "$1"
            ;;
    esac
}

trap stop TERM INT HUP
trap leave EXIT
[ -n "$name" ] && [ -n "$zone" ] || fail "give --name=NAME and --zone=ZONE; $0 --help has an example"
case "${1:-}" in
    main | sweep)
        [ -n "$type" ] && [ -n "$version" ] || fail "give --type=TYPE and --version=VERSION"
        refuse_lost_results "$@"
        refuse_mistakes
        train "$@"
        ;;
    fetch) fetch "${2:?a folder such as runs/NAME}" ;;
    delete) delete ;;
    *) fail "expected main, sweep, fetch or delete, got '${1:-}'" ;;
esac
