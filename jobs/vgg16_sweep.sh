#!/bin/bash
#SBATCH --job-name=filterscope
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=filterscope-%j.log
#
# Trains a network where its model is missing or unfinished, then probes all its layers and silences its filters. When the
# time is nearly over it stops cleanly and Slurm requeues it, until all is done. Submitting it again goes on where it was, on
# any number of ranks. Also runs without Slurm; jobs/pbs.sh and jobs/flux.sh run it under these.
#
#   DATA=cifar10:/scratch/cifar-10-batches-bin sbatch jobs/vgg16_sweep.sh
#   DATA=... LAUNCH='mpirun -np 4' jobs/vgg16_sweep.sh
#
# Settings, all by environment variables (sbatch passes them on; sbatch's own options override the lines above):
#   DATA              data set: cifar10:DIR, cifar100:DIR or idx:DIR (required)
#   ARCH              a built-in network, as vgg16 or resnet20, or a file (vgg16); of several, as 'vgg16 avgg16', each
#                     element of a job array takes one: --array=0-1
#   ELEMENT           which of these is taken, from 0 (the array's element, or 0)
#   OUT               folder of the files below (the folder of submission)
#   MODEL             model file ($OUT/$ARCH.h5); one that was trained elsewhere (analysis/import_model.py) is swept as it is
#   RESULTS           results file ($OUT/$ARCH-sweep.h5; of a model that was trained elsewhere, its name in place of $ARCH)
#   EPOCHS            of training (the architecture's own; of a file 200); 0: MODEL is swept as it is
#   PROBE_EPOCHS      of the probes (200)
#   KNOCKOUT          zero or mean: the sweep then takes each filter out of the trained network, too; also of a file that is complete
#   GROUPS_OF         with KNOCKOUT: labels, or a file of groups (sweep --groups)
#   CURVE             with KNOCKOUT: what filters are taken out by, one after the other (sweep --curve)
#   TRAIN_OPTIONS     more options of filterscope train
#   SWEEP_OPTIONS     more options of filterscope sweep
#   STATUS_EVERY      seconds between two status tables in the log while the sweep runs (600); 0 for none
#   LAUNCH            how to start the ranks; else the first that starts MPI on all of them, which is tried: in a Slurm job that has
#                     PMIx 'srun --mpi=pmix --wait=30', or with a version as pmix_v4, and mpirun
#   LAUNCHERS         what is tried instead, one a line, also without Slurm
#   RANKS             a launcher that starts another number of ranks in such a trial is not taken (any)
#   PROBE_SECONDS     that such a trial may take (60)
#   FILTERSCOPE_END_TIME   when the job ends, in seconds since 1970; of this and what Slurm says the earlier counts
#   FILTERSCOPE       the program (under FILTERSCOPE_HOME build/filterscope, or where it was installed; or what PATH has)
#   FILTERSCOPE_HOME  the source tree, or share/filterscope of an installation (where this script is, or the folder of submission)
#
# --signal=B: sends the signal to this shell alone, which passes it on to the launcher: srun and mpirun both forward USR1 to
# every rank. (Without B: Slurm would signal the steps of srun but not the ranks that mpirun starts.)
# Exit codes: 0 complete; 75 stopped with work left: a Slurm job is requeued then, unless it was cancelled. Where a rank or a host was
# lost (70; codes that are MPI's or the launcher's own become that) the job is requeued, too, up to three times in a row, which the job's
# comment counts. Others are errors and are not requeued.
set -u +e
unalias -a

usage() {
    echo "vgg16_sweep.sh: $*" >&2
    exit 2
}

submitted=${SLURM_SUBMIT_DIR:-$PWD}

# Where jobs/common.sh is: above this script's folder; in a batch job, which runs a copy, above that of what Slurm says was submitted; in
# the folder of submission; or by the program. The same lines in each script that is submitted: only then is common.sh there.
find_home() {
    script=${SLURM_JOB_ID:+$(LC_ALL=C scontrol show job "$SLURM_JOB_ID" 2>/dev/null | sed -n 's/^ *Command=//p' | head -n 1)}
    program=$(dirname "${FILTERSCOPE:-$(command -v filterscope || echo /)}")
    for folder in "$(dirname "$(readlink -f "$0")")/.." "$(dirname "$(readlink -f "${script:-$0}")")/.." "${SLURM_SUBMIT_DIR:-$PWD}" \
        "$program/.." "$program/../share/filterscope"; do
        [ ! -e "$folder/jobs/common.sh" ] || { readlink -f "$folder" && return; }
    done
    echo "${SLURM_SUBMIT_DIR:-$PWD}"
}

home=${FILTERSCOPE_HOME:-$(find_home)}
[ -r "$home/jobs/common.sh" ] || usage "$home/jobs/common.sh is not there: set FILTERSCOPE_HOME to what has jobs and analysis"
. "$home/jobs/common.sh"
FILTERSCOPE=${FILTERSCOPE:-$(find_program)}
# shellcheck disable=SC2206 # a list of words
archs=(${ARCH:-vgg16})
ELEMENT=${ELEMENT:-${SLURM_ARRAY_TASK_ID:-0}}
is_count "$ELEMENT" || usage "ELEMENT: '$ELEMENT' is no number"
ARCH=${archs[$ELEMENT]:-}
OUT=${OUT:-$submitted}
MODEL=${MODEL:-$OUT/$ARCH.h5}
PROBE_EPOCHS=${PROBE_EPOCHS:-200}
STATUS_EVERY=${STATUS_EVERY:-600}
PROBE_SECONDS=${PROBE_SECONDS:-60}
export SLURM_EXPORT_ENV=ALL # what this script has is what the ranks need, whatever sbatch was told to hand down
# mpirun, of Open MPI 4 and 5, notices after 18 s that a host does not answer any more, not only after 480. That is sooner than the
# ranks, at 20 s: what it would tell its lost daemon of their end would keep it waiting. So many probes are not all lost by chance.
set_default() {
    [ -n "${!1:-}" ] || export "$1=$2"
}
for prefix in OMPI_MCA PRTE_MCA; do
    set_default ${prefix}_oob_tcp_keepalive_time 2
    set_default ${prefix}_oob_tcp_keepalive_intvl 1
    set_default ${prefix}_oob_tcp_keepalive_probes 16
done

[ -n "${DATA:-}" ] || usage "set DATA to the data set, as cifar10:DIR"
[ -n "$ARCH" ] || usage "ARCH names ${#archs[@]} networks, but this is element $ELEMENT: --array=0-$((${#archs[@]} - 1))"
is_count "$STATUS_EVERY" || usage "STATUS_EVERY: '$STATUS_EVERY' is no number of seconds"
is_count "$PROBE_SECONDS" || usage "PROBE_SECONDS: '$PROBE_SECONDS' is no number of seconds"
[ -x "$FILTERSCOPE" ] ||
    usage "$FILTERSCOPE is not there: build it (meson setup build && ninja -C build), or set FILTERSCOPE or FILTERSCOPE_HOME"

# Launchers to try: in a Slurm job srun by PMIx, of Slurm's choice and then of each version that Slurm's list has; mpirun.
launchers() {
    [ -z "${LAUNCHERS:-}" ] || { echo "$LAUNCHERS" && return; }
    listed=$(LC_ALL=C srun --mpi=list 2>&1 | sed -e 's/^srun: //' -e 's/^specific pmix plugin versions available: //' | tr -s ', \t' '\n')
    for plugin in $(echo "$listed" | grep '^pmix\(_v[0-9]*\)\{0,1\}$' | sort -u); do
        echo "srun --mpi=$plugin --wait=30"
    done
    echo mpirun
}

# Whether the launcher starts MPI on all ranks: a plugin that Slurm lists need not be there, or fit this MPI.
starts() {
    # shellcheck disable=SC2086 # a list of words
    said=$(timeout "$PROBE_SECONDS" $1 "$FILTERSCOPE" ranks 2>&1 </dev/null)
    code=$?
    started=${said##*ranks: }
    if [ "$code" -eq 0 ] && [ "${started%% *}" != "${RANKS:-${started%% *}}" ]; then
        echo "launcher: $1 does not start $RANKS ranks: $started"
        return 1
    fi
    [ "$code" -ne 0 ] || { echo "launcher: $1: $started" && return; }
    [ "$code" -ne 124 ] || said="nothing within $PROBE_SECONDS s"
    echo "launcher: $1 starts no ranks (exit code $code): $(echo "$said" | grep '[[:alnum:]]' | head -n 3)"
    return 1
}

choose_launcher() {
    while read -r LAUNCH; do
        ! starts "$LAUNCH" || return 0
    done < <(launchers)
    echo "vgg16_sweep.sh: no launcher starts the ranks (see above): load the modules of the MPI that $FILTERSCOPE was built with, or" \
        "set LAUNCH" >&2
    exit 127
}

job=$(name_job)

# Slurm sets SLURM_JOB_END_TIME from 23.02 on; before, it may be left from the shell that submitted the job.
if [ -n "$job" ]; then
    end=$(ask 'StartTime=[^ ]* EndTime=\([0-9]*\)')
    is_count "$end" || end=${SLURM_JOB_END_TIME:-}
    unset SLURM_JOB_END_TIME
    if is_count "$end" && [ "$end" -gt "$(date +%s)" ]; then
        export SLURM_JOB_END_TIME=$end
    fi
fi

if [ -z "${LAUNCH:-}" ]; then
    LAUNCH=mpirun
    [ -z "${SLURM_JOB_ID:-}${LAUNCHERS:-}" ] || choose_launcher
fi

child=
# USR1 also for TERM: mpirun would kill its ranks seconds after a TERM of its own.
trap '[ -z "$child" ] || kill -USR1 "$child" 2>/dev/null' USR1 TERM INT

# tell FILE: how far the results file is, again and again: filterscope status, for a log
tell() {
    trap 'kill "$nap" 2>/dev/null; exit' TERM
    while kill -0 $$ 2>/dev/null; do
        sleep "$STATUS_EVERY" &
        nap=$!
        wait "$nap"
        [ ! -e "$1" ] || { date '+%F %T' && "$FILTERSCOPE" status "$1"; }
    done
}

# run FILE COMMAND...: runs one command, which completes the file, on all ranks. `wait` returns early when a signal comes in:
# then it waits on.
run() {
    file=$1
    shift
    echo "$(date '+%F %T') ${job:+job $job }$*"
    $LAUNCH "$FILTERSCOPE" "$@" &
    child=$!
    teller=
    if [ "$1" = sweep ] && [ "$STATUS_EVERY" -gt 0 ]; then
        tell "$file" &
        teller=$!
    fi
    while :; do
        wait "$child"
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    wait "$child"
    last=$?
    [ -z "$teller" ] || kill "$teller" 2>/dev/null
    [ "$last" -eq 127 ] || code=$last
    child=
    if [ "$code" -eq 0 ]; then # a launcher that could not start the ranks may say so, too: the file tells
        state=$("$FILTERSCOPE" status "$file")
        code=$?
        echo "$state"
        [ "$code" -eq 3 ] || [[ $state =~ \;\ complete($|$'\n') ]] || code=70
    fi
    echo "$(date '+%F %T') exit code $code"
    [[ $code =~ ^(0|1|2|3|75|126|127)$ ]] || code=70 # others are MPI's or the launcher's own; 126, 127: there is no launcher
    return "$code"
}

was_imported() {
    [ -e "$MODEL" ] && [[ $("$FILTERSCOPE" status "$MODEL") =~ :\ trained\ elsewhere ]]
}

mkdir -p -- "$OUT" || finish 1
if [ "${EPOCHS:-}" = 0 ] || was_imported; then
    echo "$MODEL is swept as it is"
    RESULTS=${RESULTS:-$OUT/$(basename -- "$MODEL" .h5)-sweep.h5}
else
    RESULTS=${RESULTS:-$OUT/$ARCH-sweep.h5}
    # shellcheck disable=SC2086 # options are lists of words
    run "$MODEL" train --arch "$ARCH" --data "$DATA" --out "$MODEL" ${EPOCHS:+--epochs $EPOCHS} ${TRAIN_OPTIONS:-} || finish $?
fi
# shellcheck disable=SC2086
run "$RESULTS" sweep --model "$MODEL" --data "$DATA" --out "$RESULTS" --epochs "$PROBE_EPOCHS" ${KNOCKOUT:+--knockout "$KNOCKOUT"} \
    ${GROUPS_OF:+--groups "$GROUPS_OF"} ${CURVE:+--curve "$CURVE"} ${SWEEP_OPTIONS:-} || finish $?
finish 0
