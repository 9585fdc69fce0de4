#!/bin/bash
#SBATCH --job-name=filterscope-prune
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=filterscope-%A-%a.log
#
# Pruning by clusters beside its controls: for each threshold and control, prunes a network by its complete sweep, tests it, retrains
# it, tests it again. In a job array an element takes one pair of threshold and control; by hand all are taken in turn. What is there
# already is left as it is: the same command goes on. Then analysis/pruning.py makes the table and the figure of what is complete.
#
#   MODEL=vgg6.h5 SWEEP=vgg6-sweep.h5 DATA=cifar10:/scratch/cifar-10-batches-bin sbatch --array=0-11 jobs/prune.sh
#   MODEL=... SWEEP=... DATA=... THRESHOLDS=0.3 CONTROLS='none random' LAUNCH='mpirun -np 2' jobs/prune.sh
#
# Settings, all by environment variables:
#   MODEL, SWEEP   model file and its sweep (required)
#   DATA           data set, as cifar10:DIR (required)
#   OUT            folder of all that is written (pruned, in the folder of submission); of one MODEL and PRUNE_OPTIONS: others are refused
#   THRESHOLDS     clipping thresholds: the higher, the less is kept (0.2 0.3 0.5)
#   CONTROLS       none is AFCC itself; also knockout, of a sweep with --knockout (none random l1 clusters)
#   SEEDS          of pruning and retraining (1 2 3)
#   TRAIN_LAYERS   what is retrained: neighbours of the masks, or all (neighbours)
#   EPOCHS         of retraining (10)
#   PRUNE_OPTIONS  more options of filterscope prune, as --layers 7-8
#   TRAIN_OPTIONS  of retraining (lr 0.01, momentum 0.95, weight decay 1e-3, as in AFCC: the paper's second setting is
#                  '--lr 0.01 --lr-decay 0.975 --lr-every 1 --momentum 0.975 ...')
#   LAUNCH         how ranks are started (mpirun)
#   FILTERSCOPE, FILTERSCOPE_HOME, PYTHON   as in reproduce.sh
#
# Exit codes, and when Slurm starts the job, or this element of its array alone, anew: as vgg16_sweep.sh.
set -u +e
unalias -a

usage() {
    echo "prune.sh: $*" >&2
    exit 2
}

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
OUT=${OUT:-${SLURM_SUBMIT_DIR:-$PWD}/pruned}
LAUNCH=${LAUNCH:-mpirun}
TRAIN_OPTIONS=${TRAIN_OPTIONS:---lr 0.01 --momentum 0.95 --weight-decay 1e-3 --fc-lr 0.01 --fc-momentum 0.95 --fc-weight-decay 1e-3 --lr-decay 1}
for name in MODEL SWEEP DATA; do
    [ -n "${!name:-}" ] || usage "set $name"
done
[ -r "$MODEL" ] || usage "MODEL: $MODEL cannot be read"
[ -x "$FILTERSCOPE" ] || usage "$FILTERSCOPE is not there: build it, or set FILTERSCOPE or FILTERSCOPE_HOME"
for control in ${CONTROLS:=none random l1 clusters}; do
    case $control in none | random | l1 | clusters | knockout) ;; *) usage "CONTROLS: '$control' is none of none, random, l1, clusters, knockout" ;; esac
done
for threshold in ${THRESHOLDS:=0.2 0.3 0.5}; do
    [[ $threshold =~ ^(0?\.[0-9]+|[01](\.0*)?)$ ]] || usage "THRESHOLDS: '$threshold' is no number from 0 to 1"
done
for seed in ${SEEDS:=1 2 3}; do
    is_count "$seed" || usage "SEEDS: '$seed' is no number"
done
is_count "${EPOCHS:=10}" || usage "EPOCHS: '$EPOCHS' is no number"
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || is_count "$SLURM_ARRAY_TASK_ID" || usage "SLURM_ARRAY_TASK_ID: '$SLURM_ARRAY_TASK_ID' is no number"
pairs=()
for threshold in $THRESHOLDS; do
    for control in $CONTROLS; do
        pairs+=("$threshold $control")
    done
done
own=("${pairs[@]}")
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || own=("${pairs[$SLURM_ARRAY_TASK_ID]:-}")
[ -n "${own[0]}" ] || usage "there are ${#pairs[@]} pairs of threshold and control: --array=0-$((${#pairs[@]} - 1))"
python=$(find_python h5py pandas matplotlib) || exit
mkdir -p -- "$OUT" || exit 1

job=$(name_job)
child=
trap '[ -z "$child" ] || kill -USR1 "$child" 2>/dev/null' USR1 TERM INT

# run COMMAND...: on all ranks. `wait` returns early when a signal comes in: then it waits on.
run() {
    echo "$(date '+%F %T') $*" >&2
    $LAUNCH "$FILTERSCOPE" "$@" &
    child=$!
    while :; do
        wait "$child"
        code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    wait "$child"
    last=$?
    [ "$last" -eq 127 ] || code=$last
    child=
    case $code in 0) ;; 1 | 2 | 3 | 75 | 126 | 127) finish "$code" >&2 ;; *) finish 70 >&2 ;; esac # others are MPI's or the launcher's own
}

# complete FILE: a launcher that starts nothing may say that all is well.
complete() {
    [ -s "$1" ] || { echo "prune.sh: $1 was not written" && finish 70; } >&2
}

# What is in OUT is kept, so it must be of this MODEL, by its bytes, and of these PRUNE_OPTIONS: OUT/origin has both, before all else.
claim() {
    origin=$(cksum <"$MODEL" && printf '%s\n' "${PRUNE_OPTIONS:-}") || finish 1
    if [ ! -e "$OUT/before.csv" ] && [ ! -e "$OUT/origin" ]; then
        { printf '%s\n' "$origin" >"$OUT/origin.$$" && mv -f -- "$OUT/origin.$$" "$OUT/origin"; } || finish 1
    fi
    [ "$(cat -- "$OUT/origin")" = "$origin" ] || {
        echo "prune.sh: $OUT: is of another MODEL than $MODEL, or of other PRUNE_OPTIONS: set OUT to another folder" >&2
        finish 3
    }
}

# measure MODEL CSV: each label's SR, unless that is there. It is written by cat, which tells of a full disk: launchers do not. What
# comes after that is read, too: MPICH's mpirun would fail without a reader.
measure() {
    [ -e "$2" ] && return
    exec 3> >(cat >"$2.part" || { cat >/dev/null && exit 1; })
    writer=$!
    run eval --model "$1" --data "$DATA" --table labels >&3 3>&-
    exec 3>&-
    wait "$writer" || finish 1
    complete "$2.part"
    mv -f -- "$2.part" "$2" || finish 1
}

# take THRESHOLD CONTROL SEED
take() {
    stem=$OUT/$1-$2-$3
    # shellcheck disable=SC2086 # options are lists of words
    [ -e "$stem.h5" ] || run prune --model "$MODEL" --sweep "$SWEEP" --out "$stem.h5" --threshold "$1" --control "$2" --seed "$3" \
        ${PRUNE_OPTIONS:-}
    complete "$stem.h5"
    measure "$stem.h5" "$stem-pruned.csv"
    # shellcheck disable=SC2086
    run train --init "$stem.h5" --data "$DATA" --out "$stem-retrained.h5" --train-layers "${TRAIN_LAYERS:-neighbours}" \
        --epochs "$EPOCHS" --seed "$3" $TRAIN_OPTIONS
    complete "$stem-retrained.h5"
    measure "$stem-retrained.h5" "$stem-retrained.csv"
}

claim
[ -e "$OUT/before.csv" ] || measure "$MODEL" "$OUT/before.csv"
for pair in "${own[@]}"; do
    for seed in $SEEDS; do
        # shellcheck disable=SC2086 # a pair is two words
        take $pair "$seed"
    done
done
PYTHONUTF8=1 "$python" "$home/analysis/pruning.py" "$OUT"
