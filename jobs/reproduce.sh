#!/bin/bash
#SBATCH --job-name=filterscope-reproduce
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=filterscope-%j.log
#
# The paper on CIFAR-10: trains each network once and sweeps it with several seeds of the probes, all by jobs/vgg16_sweep.sh, then
# prints the paper's tables, its claims and their sensitivity for all that is complete, and writes them to $OUT/reproduce.md. What
# is stopped goes on with the same command, on any number of ranks. In a job array each element takes one network; each prints
# what is complete by then.
#
#   DATA=cifar10:/scratch/cifar-10-batches-bin sbatch --array=0-3 jobs/reproduce.sh
#   DATA=... SCHEDULE=short ARCHS=vgg6 LAUNCH='mpirun -np 2' jobs/reproduce.sh
#
# Settings, all by environment variables; also STATUS_EVERY, LAUNCH, FILTERSCOPE and FILTERSCOPE_HOME, as in vgg16_sweep.sh:
#   DATA           data set: cifar10:DIR (required)
#   OUT            folder of ARCH.h5, ARCH-sweep-SEED.h5 and reproduce.md (the folder of submission)
#   ARCHS          the networks (vgg6 vgg16-fc1 vgg16 avgg16)
#   SEEDS          of the probes, a sweep each (1 2 3)
#   SCHEDULE       paper: the architectures' own recipe and epochs. short: few epochs, a cosine of learning rate 0.1 with a tenth
#                  of them as warm-up, momentum 0.9, weight decay 5e-4; where several fully connected layers
#                  end the network, 0.01 for these (paper)
#   SMOOTHING      of labels in training (0, as in the paper)
#   EPOCHS         of training (the architecture's own, 200; short 30)
#   PROBE_EPOCHS   of the probes (200; short 20)
#   VIEWS          augmented views of an image that the probes see, in turn (0: a new one every epoch); SWEEP_OPTIONS='--cache GIB' is
#                  the memory on a node for what need not be computed again then
#   TRAIN_IMAGES   the first N training images only, in training and for the probes (all)
#   TRAIN_OPTIONS  more options of filterscope train
#   SWEEP_OPTIONS  more options of filterscope sweep
#   PYTHON         a python3 that has h5py and pandas (looked for)
#
# Exit codes are vgg16_sweep.sh's, which requeues the job where it has to.
set -u +e
unalias -a

usage() {
    echo "reproduce.sh: $*" >&2
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
OUT=${OUT:-${SLURM_SUBMIT_DIR:-$PWD}}
SEEDS=${SEEDS:-1 2 3}
export FILTERSCOPE_HOME=$home FILTERSCOPE=${FILTERSCOPE:-$(find_program)}
# shellcheck disable=SC2206 # a list of words
archs=(${ARCHS:-vgg6 vgg16-fc1 vgg16 avgg16})
images=${TRAIN_IMAGES:+--train-images $TRAIN_IMAGES}
smoothing=${SMOOTHING:+--label-smoothing $SMOOTHING}
recipe=
case ${SCHEDULE:=paper} in
paper) ;;
short)
    EPOCHS=${EPOCHS:-30} PROBE_EPOCHS=${PROBE_EPOCHS:-20}
    recipe='--schedule cosine --lr 0.1 --momentum 0.9 --weight-decay 5e-4'
    recipe+=' --fc-momentum 0.9 --fc-weight-decay 5e-4'
    ;;
*) usage "SCHEDULE: '$SCHEDULE' is neither paper nor short" ;;
esac
export EPOCHS=${EPOCHS:-} PROBE_EPOCHS=${PROBE_EPOCHS:-}
[ ${#archs[@]} -gt 0 ] || usage "ARCHS names no network"
own=("${archs[@]}")
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || own=("${archs[$SLURM_ARRAY_TASK_ID]:-}")
[ -n "${own[0]}" ] ||
    usage "ARCHS names ${#archs[@]} networks, but this is element $SLURM_ARRAY_TASK_ID: --array=0-$((${#archs[@]} - 1))"
python=$(find_python h5py pandas) || exit

child=
trap 'signalled=1; [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null' USR1 TERM INT

# options ARCH: of its training, without the user's
options() {
    fc_lr=0.1
    case $1 in vgg16 | avgg16 | avgg8) fc_lr=0.01 ;; esac
    echo "${recipe:+$recipe --fc-lr $fc_lr} $smoothing $images"
}

# sweep ARCH SEED: `wait` returns early when a signal comes in: then it waits on.
sweep() {
    env ELEMENT=0 ARCH="$1" OUT="$OUT" MODEL="$OUT/$1.h5" RESULTS="$OUT/$1-sweep-$2.h5" \
        TRAIN_OPTIONS="$(options "$1") ${TRAIN_OPTIONS:-}" SWEEP_OPTIONS="--seed $2 ${VIEWS:+--views $VIEWS} $images ${SWEEP_OPTIONS:-}" \
        bash "$home/jobs/vgg16_sweep.sh" &
    child=$!
    signalled=1
    while [ -n "$signalled" ]; do
        signalled=
        wait "$child"
        code=$?
    done
    child=
    return "$code"
}

for arch in "${own[@]}"; do
    for seed in $SEEDS; do
        sweep "$arch" "$seed" || exit
    done
done

models=() files=()
for arch in "${archs[@]}"; do
    [ ! -e "$OUT/$arch.h5" ] || models+=("$OUT/$arch.h5")
    for seed in $SEEDS; do
        [ ! -e "$OUT/$arch-sweep-$seed.h5" ] || files+=("$OUT/$arch-sweep-$seed.h5")
    done
done
# Written whole or not at all: other elements of an array write it, too.
part=$OUT/reproduce.md.part-${SLURM_JOB_ID:-$$}
PYTHONUTF8=1 "$python" "$home/analysis/reproduce.py" "${files[@]}" --models "${models[@]}" >"$part" &&
    mv -f -- "$part" "$OUT/reproduce.md" && cat -- "$OUT/reproduce.md"
code=$?
[ "$code" -eq 0 ] || rm -f -- "$part"
exit "$code"
