#!/bin/sh
# Installs what is missing, builds and passes every test; with --quick a part of them. The last line is
# "N passed, N failed, N skipped"; a failing or missing test makes the exit code non-zero.
#
#   CIFAR10_DIR, CIFAR100_DIR   folders of the CIFAR binary versions; tests that need one are skipped where it is unset
set -eu
suite=
case "$#$*" in
0) ;;
1--quick) suite='--suite quick' ;;
*)
    echo "usage: tests/run.sh [--quick]" >&2
    exit 2
    ;;
esac
home=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
. "$home/jobs/common.sh"

# shellcheck disable=SC2086 # a list of words
install_packages $build_packages libcmocka-dev hdf5-tools python3-h5py python3-numpy python3-pandas python3-matplotlib python3-pil \
    python3-onnx dataset-fashion-mnist r-base-core r-cran-hdf5r r-cran-ggplot2 python3-pip python3-setuptools python3-wheel \
    groff-base bash slurmctld slurmd slurm-client munge clang clang-format libclang-rt-dev util-linux e2fsprogs xfsprogs btrfs-progs \
    shellcheck pyflakes3 mandoc iproute2 lmod
if [ -n "$(missing_packages python3-torch)" ] && [ -z "$(apt-cache madison python3-torch 2>/dev/null)" ]; then
    say "no python3-torch to be had, as in Ubuntu 24.04: nothing is compared with PyTorch"
else
    install_packages python3-torch
fi

# A copy of CIFAR beside the source tree is used without being asked for.
unpack=$home/../shared/data/unpack.sh
if [ -z "$suite${CIFAR10_DIR:-}" ] && [ -x "$unpack" ]; then
    command -v xz >/dev/null || install_packages xz-utils
    cache=${TMPDIR:-/tmp}/filterscope-data-$(id -u)
    "$unpack" "$cache" >/dev/null
    export CIFAR10_DIR="$cache/cifar-10-batches-bin" CIFAR100_DIR="$cache/cifar-100-binary"
fi

build tests
cd "$home"

# Debian has no pyarrow: from PyPI, where that can be reached, for Debian 12 or, of which the first has nothing for its Python, 13.
# Without it the test of Parquet is skipped.
python=$(find_python pandas)
get_pyarrow() {
    PYTHONPATH=build/python "$python" -c 'import pyarrow' 2>/dev/null ||
        "$python" -m pip install --quiet --no-deps --only-binary :all: --retries 0 --timeout 30 --target build/python "$1" >/dev/null 2>&1
}
[ -n "$suite" ] || get_pyarrow 'pyarrow<16' || get_pyarrow 'pyarrow<19' || say "no pyarrow from PyPI"
code=0
rm -f build/meson-logs/testlog.json
# shellcheck disable=SC2086 # a list of words
meson test -C build --num-processes 2 --print-errorlogs $suite || code=$?
python=$(find_python json)
listed=$(new_file)
# shellcheck disable=SC2086
meson test -C build --list $suite >"$listed" 2>/dev/null || code=1
"$python" tests/count.py build/meson-logs/testlog.json <"$listed" || code=1
rm -f "$listed"
exit $code
