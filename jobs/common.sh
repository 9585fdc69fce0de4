# shellcheck shell=sh disable=SC2034,SC2154 # what is unused here is used by the scripts, which set home
#
# What the scripts share; sourced, for POSIX sh. `home` is the top of the source tree, or share/filterscope of an installation.
#
#   install_packages NAME...   installs Debian packages that are missing, with apt-get; sudo only when not root
#   find_python MODULE...      prints a python3 that can import the modules: $PYTHON, python3 on PATH or /usr/bin/python3
#   build tests|program        builds into $home/build, optimised; nothing in an installation
#   find_program               prints the program's path: that of the source tree, of the installation, or on PATH
#   cores                      prints the number of cores (not hardware threads) that this process may use
#   name_job                   prints how Slurm calls this job, or element of an array, alone; nothing outside of Slurm
#   ask PATTERN                prints what Slurm says of the job $job
#   finish CODE                ends the script; where work is left (75), or a rank was lost (70), Slurm starts the job $job anew
#   launch N COMMAND...        runs COMMAND on N ranks, one a core where that can be had

# What users' shells are set to, and hand down, does not matter: where cd leads, what is read before a script, how words are split.
unset CDPATH ENV BASH_ENV GREP_OPTIONS POSIXLY_CORRECT IFS
unset -f cd
unalias -a
set +C -f
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
export HOME="${HOME:-/}" # Open MPI 5 does not start without

# What is built with, as '-Dmpi=mpich -Dblas=blis' (meson_options.txt), in a source tree that was not built in before
MESON_OPTIONS=${MESON_OPTIONS:-}
mpi_packages='libopenmpi-dev openmpi-bin libhdf5-openmpi-dev' blas_packages=libopenblas-dev
case $MESON_OPTIONS in *-Dmpi=mpich*) mpi_packages='libmpich-dev mpich libhdf5-mpich-dev' ;; esac
case $MESON_OPTIONS in *-Dblas=blis*) blas_packages=libblis-dev ;; *-Dblas=cblas*) blas_packages=libblas-dev ;; esac
build_packages="gcc libc6-dev meson ninja-build pkg-config $mpi_packages $blas_packages zlib1g-dev"

if [ "$(id -u)" -eq 0 ]; then # Open MPI refuses root unless told otherwise
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

missing_packages() {
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
    done
}

new_file() {
    mktemp || fail "no file can be made in ${TMPDIR:-/tmp}: set TMPDIR to a folder where one can"
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "no apt-get here: going on, but these (Debian's names) must be there: $*"
        return
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    say "installing: $missing"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "install these packages as root first: $missing"
        sudo=sudo
    fi
    log=$(new_file)
    # shellcheck disable=SC2086 # a list of words
    if ! { umask 022 && $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "apt-get failed (see above); the packages are: $missing"
    fi
    rm -f "$log"
}

find_python() {
    imports=$(printf 'import %s; ' "$@")
    for python in "${PYTHON:-}" python3 /usr/bin/python3; do
        if [ -n "$python" ] && "$python" -c "$imports" 2>/dev/null; then
            say "$python"
            return
        fi
    done
    fail "no python3 with $*: install $(printf 'python3-%s ' "$@") or set PYTHON"
}

build() (
    tests=false
    [ -e "$home/meson.build" ] || return 0
    [ "$1" = tests ] && tests=true
    cd "$home" || exit
    log=$(new_file) || exit
    if [ ! -e build/build.ninja ]; then
        rm -rf build
        # shellcheck disable=SC2086 # a list of words
        meson setup build --buildtype=release "-Dtests=$tests" $MESON_OPTIONS >"$log" 2>&1 || { cat "$log" >&2; fail "meson failed"; }
    elif [ "$tests" = true ]; then
        meson configure build -Dtests=true
    fi
    ninja -C build >"$log" 2>&1 || { cat "$log" >&2; fail "the build failed"; }
    rm -f "$log"
)

find_program() {
    for program in "$home/build/filterscope" "$home/../../bin/filterscope" "$(command -v filterscope)"; do
        [ ! -x "$program" ] || { say "$program" && return; }
    done
    say "$home/build/filterscope"
}

cores() {
    allowed=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # nproc would print these
    case $allowed in '' | *[!0-9]*) allowed=1 ;; esac
    physical=$(LC_ALL=C lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l)
    say $((physical > 0 && physical < allowed ? physical : allowed))
}

launch() {
    ranks=$1
    shift
    place='--bind-to core'
    if ! mpirun --version 2>/dev/null | grep -q 'Open MPI'; then
        place= # of MPICH and others: they place and bind as they see fit
    elif [ "$ranks" -gt "$(cores)" ]; then
        place='--oversubscribe --bind-to none'
    elif ! mpirun --bind-to core -np "$ranks" true >/dev/null 2>&1; then
        place='--bind-to none' # in some containers binding fails: then the kernel places the ranks
    fi
    # shellcheck disable=SC2086 # a list of words
    mpirun $place -np "$ranks" "$@"
}

is_count() {
    case $1 in '' | *[!0-9]* | ?????????????*) return 1 ;; esac
}

# This job alone: the last element of an array has the array's number as SLURM_JOB_ID, which scontrol takes for all elements, and the
# first component of a heterogeneous job that of all components. (SLURM_ARRAY_JOB_ID may be left from the shell that submitted it.)
name_job() {
    named=
    [ -z "${SLURM_JOB_ID:-}" ] || named=$(LC_ALL=C scontrol show job "$SLURM_JOB_ID" 2>/dev/null | sed -n \
        -e "s/^JobId=$SLURM_JOB_ID ArrayJobId=\([0-9]*\) ArrayTaskId=\([0-9]*\) .*/\1_\2/p" \
        -e "s/^JobId=$SLURM_JOB_ID HetJobId=\([0-9]*\) HetJobOffset=\([0-9]*\) .*/\1+\2/p")
    say "${named:-${SLURM_JOB_ID:-}}"
}

# ask PATTERN: what Slurm says of this job where a line begins so, times in seconds since 1970; nothing where it says nothing.
ask() {
    LC_ALL=C SLURM_TIME_FORMAT=%s scontrol show job "$job" 2>/dev/null | sed -n "s/^ *$1.*/\1/p"
}

# requeue N WHY: N is how often in a row a rank was lost, which the job's comment keeps. Returns where Slurm does not requeue.
requeue() {
    state=$(ask 'JobState=\([A-Z_]*\)')
    if [ "${state:-RUNNING}" != RUNNING ]; then
        echo "$2, and Slurm is ending the job: where Slurm does not requeue it, submit it again to go on"
        exit 75
    fi
    echo "$2: requeueing the job"
    if ! scontrol update JobId="$job" Comment="filterscope: lost $1" && [ "$1" -gt 0 ]; then
        echo "Slurm does not keep how often a rank was lost: submit the job again to go on"
    elif scontrol requeue "${job%+*}"; then
        sleep 60 # Slurm ends this script, which should not end by itself meanwhile
        exit 75
    else
        echo "Slurm did not requeue the job: submit it again to go on"
    fi
}

finish() {
    if [ "$1" -eq 75 ] && [ -z "$job" ]; then
        echo "work is left: run the same command again to go on"
    elif [ "$1" -eq 75 ]; then
        requeue 0 "work is left"
    elif [ "$1" -eq 70 ] && [ -n "$job" ]; then
        lost=$(ask 'Comment=filterscope: lost \([0-9]\{1,6\}\)')
        if [ "${lost:-0}" -lt 3 ]; then
            requeue $((${lost:-0} + 1)) "a rank was lost"
        else
            echo "a rank was lost for the fourth time in a row: submit the job again to go on"
        fi
    fi
    exit "$1"
}
