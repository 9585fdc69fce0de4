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
# The paper on CIFAR-10: trains each network with several seeds and sweeps it with several seeds of the probes, all by
# jobs/vgg16_sweep.sh, then prints the paper's tables, its claims and their sensitivity for all that is complete, and writes them to
# $OUT/reproduce.md. What is stopped goes on with the same command, on any number of ranks. In a job array each element takes one
# training, with all its sweeps, and prints what is complete by then; by hand all are taken in turn. There are as many trainings as the
# product of the numbers of networks, widths, numbers of labels, smoothings and training seeds, counted in that order, seeds fastest.
#
#   DATA=cifar10:/scratch/cifar-10-batches-bin sbatch --array=0-3 jobs/reproduce.sh                 # four networks
#   DATA=... ARCHS=vgg6 TRAIN_SEEDS='1 2 3 4 5 6 7 8 9 10' sbatch --array=0-9 jobs/reproduce.sh     # ten seeds of one
#   DATA=... ARCHS=vgg6 WIDTHS='0.25 0.5 1 2' TRAIN_SEEDS='1 2 3' sbatch --array=0-11 jobs/reproduce.sh
#   DATA=cifar100:... ARCHS=vgg6 LABELS='10 20 50 100' sbatch --array=0-3 jobs/reproduce.sh
#   DATA=... SCHEDULE=short ARCHS=vgg6 LAUNCH='mpirun -np 2' jobs/reproduce.sh
#
# Settings, all by environment variables; also KNOCKOUT, GROUPS_OF, CURVE, STATUS_EVERY, LAUNCH, FILTERSCOPE and FILTERSCOPE_HOME, as in
# vgg16_sweep.sh:
#   DATA           data set: cifar10:DIR (required)
#   OUT            folder of all that is written: models NAME.h5, sweeps NAME-sweep-SEED.h5 and their logs, reproduce.md (the folder of
#                  submission). NAME is the network's, with -wWIDTH but for 1, -kLABELS, -sSMOOTHING of several, -tSEED but for 1
#   ARCHS          the networks (vgg6 vgg16-fc1 vgg16 avgg16)
#   TRAIN_SEEDS    of the trainings (1)
#   SEEDS          of the probes, a sweep each (1 2 3)
#   WIDTHS         factors of the numbers of filters of all convolutions (1)
#   LABELS         numbers of labels: the first so many of the set (all)
#   SMOOTHING      of labels in training; '0 0.1': one beside the other (0, as in the paper)
#   BEFORE_POOL    1: sweeps each network also with its last convolution probed before the pool behind it, as NAME-before (0)
#   SCHEDULE       paper: the architectures' own recipe and epochs. short: few epochs, a cosine of learning rate 0.1 with a tenth
#                  of them as warm-up, momentum 0.9, weight decay 5e-4; where several fully connected layers
#                  end the network, 0.01 for these (paper)
#   EPOCHS         of training (the architecture's own, 200; short 30)
#   PROBE_EPOCHS   of the probes (200; short 20)
#   VIEWS          augmented views of an image that the probes see, in turn (0: a new one every epoch); SWEEP_OPTIONS='--cache GIB' is
#                  the memory on a node for what need not be computed again then
#   TRAIN_IMAGES   the first N training images only, in training and for the probes (all)
#   TRAIN_OPTIONS  more options of filterscope train
#   SWEEP_OPTIONS  more options of filterscope sweep
#   INTO           a Markdown file with the two lines of analysis/reproduce.py --into, which gets the tables, too
#   PYTHON         a python3 that has h5py and pandas (looked for)
#
# What jobs/prune.sh wrote in folders of OUT (its own OUT=$OUT/pruned) is in the tables.
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
read -ra smoothings <<<"${SMOOTHING:--}"
images=${TRAIN_IMAGES:+--train-images $TRAIN_IMAGES}
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
epochs=${EPOCHS:-}
export PROBE_EPOCHS=${PROBE_EPOCHS:-}
[ ${#archs[@]} -gt 0 ] || usage "ARCHS names no network"
for width in ${WIDTHS:=1}; do
    case $width in .* | *. | *.*.* | *[!0-9.]* | 0 | 0.0) usage "WIDTHS: '$width' is no factor, as 0.5 is" ;; esac
done
for count in ${LABELS:=-}; do
    [ "$count" = - ] || is_count "$count" || usage "LABELS: '$count' is no number of labels"
done
case $OUT in *\ *) [ "$WIDTHS" = 1 ] || usage "OUT: '$OUT' has a blank in it, and the architectures of WIDTHS are written there" ;; esac
all=()
for arch in "${archs[@]}"; do
    for width in $WIDTHS; do
        for count in $LABELS; do
            for smoothing in "${smoothings[@]}"; do
                for seed in ${TRAIN_SEEDS:=1}; do
                    all+=("$arch $width $count $smoothing $seed")
                done
            done
        done
    done
done
own=("${all[@]}")
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || own=("${all[$SLURM_ARRAY_TASK_ID]:-}")
[ -n "${own[0]}" ] || usage "there are ${#all[@]} trainings (networks, widths, numbers of labels, smoothings, seeds), but this is element" \
    "$SLURM_ARRAY_TASK_ID: --array=0-$((${#all[@]} - 1))"
python=$(find_python h5py pandas) || exit

child=
trap 'signalled=1; [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null' USR1 TERM INT

# name ARCH WIDTH LABELS SMOOTHING SEED: of a training's files
name() {
    text=$1
    [ "$2" = 1 ] || text+=-w$2
    [ "$3" = - ] || text+=-k$3
    [ ${#smoothings[@]} -lt 2 ] || text+=-s$4
    [ "$5" = 1 ] || text+=-t$5
    echo "$text"
}

# options ARCH WIDTH LABELS SMOOTHING SEED: of its training, without the user's
options() {
    fc_lr=0.1
    case $1 in vgg16 | avgg16 | avgg8) fc_lr=0.01 ;; esac
    text="${recipe:+$recipe --fc-lr $fc_lr} $images"
    [ "$3" = - ] || text+=" --keep-labels 0-$(($3 - 1))"
    [ "$4" = - ] || text+=" --label-smoothing $4"
    [ "$5" = 1 ] || text+=" --seed $5"
    echo "$text"
}

# architecture ARCH WIDTH: its name; of another width the file of its text, which is made here
architecture() {
    [ "$2" != 1 ] || { echo "$1" && return; }
    file=$OUT/$1-w$2.txt
    if [ ! -e "$file" ]; then
        mkdir -p -- "$OUT" &&
            "$FILTERSCOPE" arch "$1" --table text >"$file.text-$$" &&
            awk -v width="$2" '$1 == "conv" { $2 = int($2 * width + 0.5); if ($2 < 1) $2 = 1 } { print }' "$file.text-$$" >"$file.part-$$" &&
            mv -f -- "$file.part-$$" "$file"
        code=$?
        rm -f -- "$file.text-$$" "$file.part-$$"
        [ "$code" -eq 0 ] || return 1
    fi
    echo "$file"
}

# sweep ARCH NAME SEED OPTIONS: `wait` returns early when a signal comes in: then it waits on. What is printed goes to a log, too.
sweep() {
    mkdir -p -- "$OUT" || exit 1
    exec 7> >(trap '' USR1 TERM INT && exec tee -a -- "$OUT/$2-sweep-$3.log")
    tee=$!
    env ELEMENT=0 ARCH="$1" OUT="$OUT" MODEL="$OUT/$2.h5" RESULTS="$OUT/$2-sweep-$3.h5" TRAIN_OPTIONS="$4 ${TRAIN_OPTIONS:-}" \
        SWEEP_OPTIONS="--seed $3 ${VIEWS:+--views $VIEWS} $images ${SWEEP_OPTIONS:-}" bash "$home/jobs/vgg16_sweep.sh" >&7 2>&1 7>&- &
    child=$!
    exec 7>&-
    signalled=1
    while [ -n "$signalled" ]; do
        signalled=
        wait "$child"
        code=$?
    done
    child=
    wait "$tee"
    return "$code"
}

# names ELEMENT: of all its models
names() {
    # shellcheck disable=SC2086 # a list of words
    own_name=$(name $1)
    echo "$own_name"
    [ "${BEFORE_POOL:-0}" = 0 ] || echo "$own_name-before"
}

for element in "${own[@]}"; do
    read -r arch width _ <<<"$element"
    arch=$(architecture "$arch" "$width") || exit
    # shellcheck disable=SC2086 # a list of words
    more=$(options $element)
    for name in $(names "$element"); do
        case $name in
        *-before)
            [ -e "$OUT/$name.h5" ] ||
                "$python" "$home/analysis/probe_before_pool.py" "$OUT/${name%-before}.h5" --out "$OUT/$name.h5" || exit
            export EPOCHS=0
            ;;
        *) export EPOCHS=$epochs ;;
        esac
        for seed in $SEEDS; do
            sweep "$arch" "$name" "$seed" "$more" || exit
        done
    done
done

models=() files=()
for element in "${all[@]}"; do
    for name in $(names "$element"); do
        [ ! -e "$OUT/$name.h5" ] || models+=("$OUT/$name.h5")
        for seed in $SEEDS; do
            [ ! -e "$OUT/$name-sweep-$seed.h5" ] || files+=("$OUT/$name-sweep-$seed.h5")
        done
    done
done
while IFS= read -r -d '' pruned; do
    files+=("$(dirname "$pruned")")
done < <(find "$OUT" -mindepth 2 -maxdepth 2 -name pruning.csv -print0 | sort -z)
# Written whole or not at all: other elements of an array write it, too.
part=$OUT/reproduce.md.part-${SLURM_JOB_ID:-$$}
PYTHONUTF8=1 "$python" "$home/analysis/reproduce.py" "${files[@]}" --models "${models[@]}" ${INTO:+--into "$INTO"} >"$part" &&
    mv -f -- "$part" "$OUT/reproduce.md" && cat -- "$OUT/reproduce.md"
code=$?
[ "$code" -eq 0 ] || rm -f -- "$part"
exit "$code"
