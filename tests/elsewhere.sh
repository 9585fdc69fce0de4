#!/bin/sh
# README's two commands on another release of Debian or Ubuntu: with its libraries, compilers, Slurm and Python, in a folder that
# debootstrap fills and a clone of what is committed here. For root. Mounts and processes are gone when it ends.
#
#   tests/elsewhere.sh RELEASE [COMMAND...]    bookworm, trixie (Debian 12, 13), sid (its unstable, for what is newest), noble (Ubuntu
#                                              24.04); COMMAND instead of the two
#
#   SYSTEMS    folder of the systems (/var/tmp/filterscope-systems): RELEASE is made there when missing and used again, beside it
#              RELEASE-packages, what was downloaded. Some 5 GB a release; remove RELEASE to begin anew without a download
#   MIRROR     of the packages (Debian's own, Ubuntu's own)
#   MESON_OPTIONS   of the build, as '-Dmpi=mpich -Dblas=blis' (../meson_options.txt): with these packages in place of Open MPI's and
#              OpenBLAS'. In SYSTEMS of its own, that only these are there
#   BARE=1     neither network nor control groups, as in many containers; packages must have been installed by a run without
set -eu
home=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
. "$home/jobs/common.sh"

release=${1:-}
case $release in
bookworm | trixie | sid) mirror=http://deb.debian.org/debian components=main ;;
noble) mirror=http://archive.ubuntu.com/ubuntu components=main,universe ;;
*)
    echo "usage: tests/elsewhere.sh bookworm|trixie|sid|noble [COMMAND...]" >&2
    exit 2
    ;;
esac
shift
[ $# -gt 0 ] || set -- jobs/quickstart.sh tests/run.sh
[ "$(id -u)" -eq 0 ] || fail "debootstrap and chroot want root"
SYSTEMS=${SYSTEMS:-/var/tmp/filterscope-systems}
MIRROR=${MIRROR:-$mirror}
root=$SYSTEMS/$release
packages=$SYSTEMS/$release-packages

make_system() {
    install_packages debootstrap git util-linux iproute2
    rm -rf "$root.part"
    script=
    [ "$release" != noble ] || script=/usr/share/debootstrap/scripts/gutsy # that of all of Ubuntu's releases
    # shellcheck disable=SC2086 # none or one
    debootstrap --variant=minbase --components=$components --cache-dir="$packages" \
        "$release" "$root.part" "$MIRROR" $script || fail "debootstrap failed (see above)"
    [ "$release" != noble ] || say "deb $MIRROR noble-updates main universe" >>"$root.part/etc/apt/sources.list"
    [ "$release" != sid ] || say 'Acquire::Check-Valid-Until "false";' >"$root.part/etc/apt/apt.conf.d/99-mirror" # may be a copy of some age
    printf '#!/bin/sh\nexit 101\n' >"$root.part/usr/sbin/policy-rc.d" # packages' daemons are not to be started
    chmod 755 "$root.part/usr/sbin/policy-rc.d"
    mv "$root.part" "$root"
}

# COMMAND in the system, in the clone.
run_there() {
    # shellcheck disable=SC2016 # it is for the inner shell
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child ${BARE:+--net} sh -euc '
        root=$1 packages=$2 bare=$3 command=$4
        mount --bind "$root" "$root" # a root that is mounted, as others are
        mount -t proc proc "$root/proc"
        if [ -n "$bare" ]; then
            mount -t sysfs sysfs "$root/sys"
            ip link set lo up
        else
            mount --rbind /sys "$root/sys"
        fi
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
        mount --bind "$packages" "$root/var/cache/apt/archives"
        env -i HOME=/root LANG=C.UTF-8 MESON_OPTIONS="${MESON_OPTIONS:-}" TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            chroot "$root" sh -c "cd /root/filterscope && $command"
        exit # this shell, the first process, gets no SIGINT: the command must be another
    ' sh "$root" "$packages" "${BARE:-}" "$1"
}

mkdir -p "$packages"
exec 9>"$packages/lock"
flock -n 9 || fail "$root is in use"
[ -d "$root" ] || make_system
cp /etc/hosts /etc/resolv.conf "$root/etc"
rm -rf "$root/root/filterscope"
git clone --quiet "$home" "$root/root/filterscope"
code=0
for command; do
    started=$(date +%s)
    result=0
    run_there "$command" || result=$?
    [ $result -eq 0 ] || code=1
    say "$release: $command: exit code $result after $(($(date +%s) - started)) s"
done
exit $code
