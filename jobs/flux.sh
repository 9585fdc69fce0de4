#!/bin/bash
#flux: --job-name=filterscope
#flux: --ntasks=16
#flux: --time-limit=8h
#flux: --output=filterscope-{{id}}.log
#
# jobs/vgg16_sweep.sh, with its settings, under Flux. It stops before its time is over, and goes on where it was when it is submitted
# again: jobs that wait for each other make a chain, of which those that nothing is left for end at once.
#
#   export DATA=cifar10:/scratch/cifar-10-batches-bin
#   first=$(flux batch jobs/flux.sh); flux batch --dependency=afterany:$first jobs/flux.sh
set -u +e
unalias -a
unset SLURM_JOB_ID SLURM_ARRAY_TASK_ID # of a job that Flux may run in
RANKS=${RANKS:-$(flux resource list -s up -no '{ncores}' 2>/dev/null)}
seconds=$(flux job timeleft 2>/dev/null) # more than a year where there is no limit
if [[ $seconds =~ ^[0-9]{1,7}$ ]]; then
    export FILTERSCOPE_END_TIME="${FILTERSCOPE_END_TIME:-$(($(date +%s) + seconds))}"
fi
export RANKS
[ -z "$RANKS" ] || export LAUNCHERS="${LAUNCHERS:-flux run -n $RANKS -o pmi=pmix
flux run -n $RANKS
mpirun -np $RANKS}"
program=$(dirname "${FILTERSCOPE:-$(command -v filterscope || echo /)}")
for folder in "${FILTERSCOPE_HOME:-.}" "$(dirname "$(readlink -f "$0")")/.." "$program/.." "$program/../share/filterscope"; do
    [ ! -r "$folder/jobs/vgg16_sweep.sh" ] || exec bash "$folder/jobs/vgg16_sweep.sh"
done
echo "flux.sh: jobs/vgg16_sweep.sh is not found: set FILTERSCOPE_HOME to what has jobs and analysis" >&2
exit 2
