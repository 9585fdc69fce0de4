#!/bin/sh
# The main job, end to end, on real data: installs what is missing, builds, trains VGG-6 on Fashion-MNIST, probes its five
# layers, silences its filters, and ends with a table, figures, and where they are. Minutes on two cores. A second run
# reuses what is done; a run that was interrupted goes on where it was.
#
#   OUT            folder of the results (quickstart in the source tree; of an installed one in the present folder)
#   RANKS          MPI ranks (one a core, at most 4)
#   DATA           data set (idx:/usr/share/datasets/fashion-mnist, from Debian's dataset-fashion-mnist)
#   LABEL_NAMES    file with the labels' names, one a line (of other data sets than Fashion-MNIST: the set's own, or numbers)
#   ARCH           architecture (vgg6)
#   EPOCHS         of training (3)
#   PROBE_EPOCHS   of the probes (4), on the first PROBE_IMAGES (15000) training images
#   TRAIN_OPTIONS, SWEEP_OPTIONS   more options of filterscope train and sweep
set -eu
home=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
. "$home/jobs/common.sh"

[ -e "$home/meson.build" ] && folder=$home || folder=$PWD
OUT=${OUT:-$folder/quickstart}
fashion=idx:/usr/share/datasets/fashion-mnist
DATA=${DATA:-$fashion}
[ "$DATA" != "$fashion" ] || LABEL_NAMES=${LABEL_NAMES:-$home/jobs/fashion-mnist-labels.txt}
ARCH=${ARCH:-vgg6}
EPOCHS=${EPOCHS:-3}
PROBE_EPOCHS=${PROBE_EPOCHS:-4}
PROBE_IMAGES=${PROBE_IMAGES:-15000}
RANKS=${RANKS:-$(cores)}
case $RANKS in '' | 0 | *[!0-9]*) fail "RANKS: '$RANKS' is no number of ranks" ;; esac
[ "$RANKS" -le 4 ] || RANKS=4
[ "$RANKS" -le 2 ] && slots=2 || slots=4 # few and large slots: results depend on their number, not on the ranks

check() { # exit code of filterscope
    case $1 in
    0) ;;
    75) say "stopped; run the same command again to go on"; exit 75 ;;
    *) fail "filterscope ended with exit code $1 (see above)" ;;
    esac
}

started=$(date +%s)
[ -e "$home/meson.build" ] || build_packages= # it is installed
# shellcheck disable=SC2086 # a list of words
install_packages $build_packages python3-h5py python3-pandas python3-matplotlib dataset-fashion-mnist
python=$(find_python h5py pandas matplotlib)
[ ! -e "$home/meson.build" ] || say "building in $home/build"
build program
filterscope=$(find_program)
mkdir -p -- "$OUT"
installed=$(date +%s)

code=0
# shellcheck disable=SC2086 # options are lists of words
launch "$RANKS" "$filterscope" train --arch "$ARCH" --data "$DATA" --out "$OUT/model.h5" --epochs "$EPOCHS" \
    --lr 0.02 --momentum 0.9 --weight-decay 5e-4 --lr-decay 0.3 --lr-every 1 \
    --fc-lr 0.002 --fc-momentum 0.9 --fc-weight-decay 5e-4 --fc-lr-decay 0.5 --slots $slots \
    ${LABEL_NAMES:+--label-names "$LABEL_NAMES"} ${TRAIN_OPTIONS:-} || code=$?
check $code
# shellcheck disable=SC2086
launch "$RANKS" "$filterscope" sweep --model "$OUT/model.h5" --data "$DATA" --out "$OUT/sweep.h5" \
    --epochs "$PROBE_EPOCHS" --train-images "$PROBE_IMAGES" --test-every "$PROBE_EPOCHS" --slots $slots ${SWEEP_OPTIONS:-} || code=$?
check $code

case $("$filterscope" status "$OUT/sweep.h5") in
*'; complete') ;;
*) fail "$OUT/sweep.h5 is not complete" ;;
esac
for table in layers filters probes history cluster_sizes; do
    "$filterscope" export "$OUT/sweep.h5" --table $table >"$OUT/$table.csv"
done
say
"$python" "$home/analysis/report.py" "$OUT/sweep.h5" --out "$OUT"
say
say "model    $OUT/model.h5"
say "results  $OUT/sweep.h5 (layout: analysis/README.md), as CSV: $OUT/layers.csv, filters.csv, probes.csv, history.csv, cluster_sizes.csv"
say "report   $OUT/report.html: all tables and figures; each figure as .png and .pdf in $OUT"
now=$(date +%s)
say "done in $(((now - installed) / 60)) min $(((now - installed) % 60)) s, after $((installed - started)) s for packages and build"
