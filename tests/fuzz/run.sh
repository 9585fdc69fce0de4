#!/bin/sh
# Fuzzes the readers with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer:
#
#   tests/fuzz/run.sh SECONDS [TARGET...]
#
# each target (idx, cifar, hdf5, arch, groups, model, results: all) for so many seconds, from the seeds of make_corpus.py and what earlier
# runs found, in build/fuzz. Prints a line for each; an input that breaks one is kept in build/fuzz/findings, and the exit code
# is 1. Needs the built tree, and clang with its compiler-rt, without which it is skipped (77).
set -eu
home=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
. "$home/jobs/common.sh"
seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
[ $# -gt 0 ] || set -- idx cifar hdf5 arch groups model results
built=${FILTERSCOPE_BUILD:-$home/build}
out=$built/fuzz
libraries='ompi-c hdf5-openmpi'
pkg-config --exists ompi-c || libraries='mpich hdf5-mpich'
blas=$(pkg-config --libs openblas 2>/dev/null) || blas=-lblis
# shellcheck disable=SC2086 # a list of words
flags="-std=gnu17 -O2 -g -DH5_USE_110_API -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -I$home/include -I$home/src -I$built/src $(pkg-config --cflags $libraries)"

rm -rf "$out/objects"
mkdir -p "$out/objects" "$out/findings"
# shellcheck disable=SC2086 # here and below: lists of words
if ! printf 'int LLVMFuzzerTestOneInput(const char *d, long n);\nint LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }' |
    clang -fsanitize=fuzzer,address,undefined -x c - -o "$out/probe" >/dev/null 2>&1; then
    say "skipped: no clang with libFuzzer (Debian: clang libclang-rt-dev)"
    exit 77
fi

# What the readers are made of but for their CRC and the choice of a BLAS, then what the fuzzers share; what these want to compute with, which clang does not
# compile, is taken from the built library.
cd "$home"
find src/base src/data src/model src/ops src/store src/parallel/agree.c src/phases/clusters.c src/sweep/group_file.c -name '*.c' ! -name crc32c.c ! -name infer.c ! -name 'blas_*.c' >"$out/sources"
printf 'tests/%s.c\n' fuzz/scratch fuzz/edit fuzz/dataset fuzz/crc_constant unit/keep_modules >>"$out/sources"
# shellcheck disable=SC2086,SC2016
xargs -P "$(cores)" -I SOURCE sh -c 'clang -fsanitize=fuzzer-no-link "$@" -c SOURCE -o "'"$out"'/objects/$(echo SOURCE | tr / _).o"' \
    sh $flags <"$out/sources"
python=$(find_python gzip)
"$python" tests/fuzz/make_corpus.py "$out/corpus"

unwinder=
pkg-config --exists 'ompi-c < 6' || unwinder=:fast_unwind_on_malloc=0 # as in tests/meson.build
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1$unwinder
export OMPI_MCA_memory=^patcher # Open MPI 6 writes over what the sanitizer put in
export LSAN_OPTIONS="print_suppressions=0:suppressions=$home/tests/unit/leaks_of_others.txt"
broken=0
for target in "$@"; do
    # shellcheck disable=SC2086,SC2046
    clang -fsanitize=fuzzer $flags "tests/fuzz/fuzz_$target.c" $(find "$out/objects" -name "*.o") "$built/libfilterscope.a" -o "$out/fuzz_$target" \
        $(pkg-config --libs $libraries) $blas -lz -lpthread -lm
    log=$out/$target.log
    code=0
    "$out/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -max_len=8192 \
        -artifact_prefix="$out/findings/$target-" "$out/corpus/$target" >"$log" 2>&1 || code=$?
    ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    covered=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    say "$target: ${ran:-no} executions in $seconds s, $covered edges covered, $([ $code -eq 0 ] && echo "nothing found" || echo "BROKEN")"
    if [ $code -ne 0 ]; then
        broken=1
        tail -n 60 "$log"
    fi
done
exit $broken
