#!/bin/bash
#PBS -N filterscope
#PBS -l select=1:ncpus=16:mpiprocs=16
#PBS -l walltime=08:00:00
#PBS -j oe
#
# jobs/vgg16_sweep.sh, with its settings, under PBS (OpenPBS, PBS Pro, Torque). It stops before its time is over, and goes on where it
# was when it is submitted again: jobs that wait for each other make a chain, of which those that nothing is left for end at once.
#
#   first=$(qsub -v DATA=cifar10:/scratch/cifar-10-batches-bin jobs/pbs.sh)
#   qsub -v DATA=cifar10:/scratch/cifar-10-batches-bin -W depend=afterany:$first jobs/pbs.sh
set -u +e
unalias -a
cd "${PBS_O_WORKDIR:-.}" || exit
[ ! -r "${PBS_NODEFILE:-}" ] || RANKS=${RANKS:-$(grep -c . "$PBS_NODEFILE")}

# What OpenPBS says of this job, as [[days:]hours:]minutes:seconds; Torque has a variable.
walltime() {
    said=$(LC_ALL=C qstat -f "${PBS_JOBID:-}" 2>/dev/null | sed -n 's/^ *Resource_List.walltime = \([0-9:]*\)$/\1/p')
    [ -n "$said" ] || said=${PBS_WALLTIME:-}
    echo "$said" | awk -F: '{ split("86400 3600 60 1", unit, " "); for (i = 1; i <= NF; i++) all += $i * unit[4 - NF + i]; if (NF) print all }'
}

seconds=$(walltime)
[ -z "$seconds" ] || export FILTERSCOPE_END_TIME="${FILTERSCOPE_END_TIME:-$(($(date +%s) + seconds))}"
export ELEMENT="${ELEMENT:-${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-0}}}" RANKS="${RANKS:-}"
[ -z "$RANKS" ] || export LAUNCHERS="${LAUNCHERS:-mpirun --hostfile $PBS_NODEFILE -np $RANKS
mpiexec -n $RANKS
mpirun -np $RANKS}"
program=$(dirname "${FILTERSCOPE:-$(command -v filterscope || echo /)}")
for folder in "${FILTERSCOPE_HOME:-.}" "$(dirname "$(readlink -f "$0")")/.." "$program/.." "$program/../share/filterscope"; do
    [ ! -r "$folder/jobs/vgg16_sweep.sh" ] || exec bash "$folder/jobs/vgg16_sweep.sh"
done
echo "pbs.sh: jobs/vgg16_sweep.sh is not found: set FILTERSCOPE_HOME to what has jobs and analysis" >&2
exit 2
