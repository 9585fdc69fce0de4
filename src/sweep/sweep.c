/* A sweep from opening the results file to closing it. */
#include "filterscope/sweep.h"

#include <stdio.h>
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "sweep/internal.h"

static void name_unit(const fs_plan *plan, int unit)
{
    const fs_unit *u = &plan->unit[unit];
    int layer = plan->layer[u->index].layer;
    if (u->kind == FS_UNIT_PROBE)
        fprintf(fs_messages(), "filterscope: the probe of layer %d is damaged: it is trained again\n", layer);
    else if (u->kind == FS_UNIT_BASELINE)
        fprintf(fs_messages(), "filterscope: what the untouched network answers is damaged: it is counted again\n");
    else if (u->kind >= FS_UNIT_GROUPS)
        fprintf(fs_messages(), "filterscope: sets %d to %d of the %s of layer %d are damaged: they are counted again\n",
                u->first, u->first + u->count - 1, u->kind == FS_UNIT_GROUPS ? "groups" : "curves", layer);
    else
        fprintf(fs_messages(), "filterscope: filters %d to %d of layer %d%s are damaged: they are measured again\n", u->first,
                u->first + u->count - 1, layer, u->kind == FS_UNIT_KNOCKOUT ? ", knocked out," : "");
}

/* Which units are done, verified on rank 0, known to all. A layer whose probe is not done has no valid fields either. */
static fs_status find_done(fs_sweep_run *run)
{
    const fs_plan *plan = run->input->plan;
    fs_status status = FS_OK;
    if (run->rank == 0)
        status = fs_results_read_done(run->results, run->done, run->damaged);
    status = fs_agree(run->world, status);
    if (status)
        return status;
    fs_share_bytes(run->world, 0, run->done, (size_t)plan->units);
    fs_share_bytes(run->world, 0, run->damaged, (size_t)plan->units);
    for (int unit = 0; unit < plan->units; unit++) {
        if (run->rank == 0 && run->damaged[unit])
            name_unit(plan, unit);
        if (plan->unit[unit].kind == FS_UNIT_SILENCE && !run->done[fs_sweep_probe_unit(plan, plan->unit[unit].index)])
            run->done[unit] = 0;
    }
    return FS_OK;
}

static int count_done(const fs_sweep_run *run)
{
    int count = 0;
    for (int unit = 0; unit < run->input->plan->units; unit++)
        count += run->done[unit];
    return count;
}

/* Collective. Opens the file on every rank, or on none; and only the file that the sweep began with. */
static fs_status open_results(fs_sweep_run *run)
{
    const fs_target *target = run->input->target;
    fs_status status = fs_agree(run->world, fs_target_check(target));
    if (status)
        return status;
    status = fs_results_open(target->path, run->world, &run->results);
    if (status)
        return status;
    fs_results_guard(run->results, target);
    fs_results_sync_every(run->results, run->input->settings->save_every);
    return fs_agree(run->world, fs_target_check(target));
}

/* What one node wrote, another may see only after a close and an open (NFS): so phase three begins with both. */
static fs_status reopen(fs_sweep_run *run)
{
    fs_status status = fs_agree(run->world, fs_results_close(run->results));
    run->results = NULL;
    return status ? status : open_results(run);
}

/* *complete: the tables of all phases are written and undamaged. */
static fs_status read_tables(fs_results *results, int *complete)
{
    int knocked_out = 0;
    fs_status status = fs_results_read_complete(results, complete, NULL);
    if (!status)
        status = fs_results_read_knocked_out(results, &knocked_out, NULL);
    *complete = *complete && knocked_out;
    return status;
}

/* The same, on every rank. */
static fs_status read_complete(fs_sweep_run *run, int *complete)
{
    *complete = 0;
    fs_status status = run->rank == 0 ? read_tables(run->results, complete) : FS_OK;
    MPI_Bcast(complete, 1, MPI_INT, 0, run->world);
    return fs_agree(run->world, status);
}

static fs_status run_phases(fs_sweep_run *run)
{
    int complete;
    fs_status status = find_done(run);
    if (!status)
        status = fs_agree(run->world, run->rank == 0 ? fs_results_reset_provenance(run->results, fs_messages()) : FS_OK);
    if (!status)
        status = read_complete(run, &complete);
    if (status)
        return status;
    int units = run->input->plan->units, left = units - count_done(run);
    if (run->rank == 0) {
        printf("sweep: %d of %d units are done\n", units - left, units);
        fflush(stdout);
    }
    if (left == 0 && complete)
        return FS_OK;
    if (run->rank == 0)
        status = fs_results_write_launch(run->results, run->input->launch, &run->launch);
    status = fs_agree(run->world, status);
    MPI_Bcast(&run->launch, 1, MPI_INT, 0, run->world);
    if (!status)
        status = fs_sweep_probes(run);
    if (!status)
        status = reopen(run);
    if (!status)
        status = fs_sweep_silence(run);
    if (!status)
        status = reopen(run);
    if (!status)
        status = fs_sweep_summarise(run);
    if (!status)
        status = fs_sweep_knockout(run);
    if (!status)
        status = reopen(run);
    if (!status)
        status = fs_sweep_summarise_drops(run);
    if (!status)
        status = fs_sweep_sets(run);
    if (!status)
        status = reopen(run);
    return status ? status : fs_sweep_summarise_sets(run);
}

/* Collective: every rank has the file open, or none. What went wrong first is what the user is told. */
static fs_status close_results(fs_sweep_run *run, fs_status status)
{
    char first[FS_MESSAGE_BYTES];
    snprintf(first, sizeof first, "%s", fs_message());
    fs_status closed = fs_results_close(run->results);
    return status ? fs_fail(status, "%s", first) : fs_agree(run->world, closed);
}

/* On rank 0, after all are recorded and the file is closed: what is in the file that the name leads to, read anew. */
static fs_status verify(const fs_sweep_run *run)
{
    const fs_target *target = run->input->target;
    fs_results *results = NULL;
    int complete = 0;
    fs_status status = fs_target_check(target);
    if (!status)
        status = fs_results_open(target->path, MPI_COMM_NULL, &results);
    if (!status)
        status = fs_results_read_done(results, run->done, NULL);
    if (!status)
        status = read_tables(results, &complete);
    fs_results_close(results);
    int units = run->input->plan->units, done = status ? 0 : count_done(run);
    if (!status && (done < units || !complete))
        status = fs_fail(FS_MISMATCH,
                         "%s: another program has written to it: all units were recorded, but %d of %d are there%s. The same "
                         "command goes on",
                         target->name, done, units, complete ? "" : ", without the tables");
    return status;
}

fs_status fs_sweep(MPI_Comm comm, const fs_sweep_input *input)
{
    fs_sweep_run run = {.world = comm, .input = input};
    MPI_Comm_rank(comm, &run.rank);
    MPI_Comm_size(comm, &run.ranks);
    size_t units = (size_t)input->plan->units;
    run.done = fs_alloc(units, 1, "units");
    run.damaged = fs_alloc(units, 1, "units");
    fs_status status = fs_agree(comm, run.done && run.damaged ? FS_OK : FS_ERROR);
    if (!status)
        status = open_results(&run);
    if (!status)
        status = run_phases(&run);
    status = close_results(&run, status);
    if (!status)
        status = fs_agree(comm, run.rank == 0 ? verify(&run) : FS_OK);
    free(run.done);
    free(run.damaged);
    return status;
}
