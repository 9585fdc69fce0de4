/* Phase two: bundles of layers, teams of ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "filterscope/stop.h"
#include "sweep/coordinator.h"
#include "sweep/internal.h"

/* The layers that are to be trained, and the bundle of each. */
struct work {
    int count, bundles;
    int index[FS_MOST_LAYERS]; /* of the plan, ascending */
    int bundle[FS_MOST_LAYERS];
};

/* One team at one bundle. */
struct team {
    fs_sweep_run *run;
    fs_slots own;
    fs_desk *desk;
    fs_probe_settings settings; /* with this team's part of a node's cache */
    int count;
    int index[FS_MOST_LAYERS];
    fs_probe probe[FS_MOST_LAYERS];
};

int fs_sweep_probe_unit(const fs_plan *plan, int index)
{
    int unit = 0;
    while (plan->unit[unit].kind != FS_UNIT_PROBE || plan->unit[unit].index != index)
        unit++;
    return unit;
}

static struct work find_work(const fs_sweep_run *run, int teams)
{
    const fs_plan *plan = run->input->plan;
    struct work work = {0};
    for (int i = 0; i < plan->layers; i++)
        if (!run->done[fs_sweep_probe_unit(plan, i)])
            work.index[work.count++] = i;
    if (work.count)
        work.bundles = fs_plan_bundles(run->input->net, plan, work.index, work.count, teams, work.bundle);
    return work;
}

static int poll(void *context)
{
    struct team *team = context;
    int stop = fs_stop_wanted() ? FS_PROBE_STOP : 0;
    if (team->run->rank == 0)
        fs_desk_serve(team->desk, stop);
    return stop | (team->own.rank == 0 && fs_results_is_due(team->run->results) ? FS_PROBE_SAVE : 0);
}

/* What the first rank of a team writes after an epoch: the row, the state, and after the last one the unit. */
static fs_status record_epoch(struct team *team, int which, const fs_history_row *row, double seconds)
{
    fs_results *results = team->run->results;
    const fs_sweep_input *in = team->run->input;
    int index = team->index[which];
    const fs_probe_state *state = &team->probe[which].state;
    fs_status status = fs_results_write_history(results, index, row, seconds);
    if (!status)
        status = fs_results_write_state(results, index, state);
    if (!status && state->epoch == in->settings->probe.epochs)
        status = fs_results_write_probe(results, fs_sweep_probe_unit(in->plan, index), state->weight);
    if (!status && row->test_sr == row->test_sr) {
        printf("probe: layer %d  epoch %d/%d  loss %.4f  train SR %.4f  test SR %.4f\n", row->layer, row->epoch,
               in->settings->probe.epochs, row->train_loss, row->train_sr, row->test_sr);
        fflush(stdout);
    }
    return status;
}

static fs_status on_epoch(void *context, int which, const fs_history_row *row, double seconds)
{
    struct team *team = context;
    fs_status status = team->own.rank == 0 ? record_epoch(team, which, row, seconds) : FS_OK;
    return fs_agree(team->own.comm, status);
}

static fs_status between(void *context, int which)
{
    struct team *team = context;
    fs_status status = FS_OK;
    if (team->own.rank == 0)
        status = fs_results_write_state(team->run->results, team->index[which], &team->probe[which].state);
    return fs_agree(team->own.comm, status);
}

static fs_status settled(void *context)
{
    struct team *team = context;
    return fs_agree(team->own.comm, team->own.rank == 0 ? fs_results_settle(team->run->results) : FS_OK);
}

/* Where the probe of layer `index` begins, on the team's first rank: at its newest slot, or at the beginning. */
static fs_status find_state(struct team *team, int index, fs_probe *probe)
{
    fs_sweep_run *run = team->run;
    const fs_sweep_input *in = run->input;
    int unit = fs_sweep_probe_unit(in->plan, index), found = 0;
    fs_status status = FS_OK;
    fs_probe_initialise(probe, in->net->labels, in->settings->probe.seed);
    if (run->damaged[unit]) /* its history may be what is damaged: only training gives that back */
        status = fs_results_write_state(run->results, index, &probe->state);
    else
        status = fs_results_read_state(run->results, index, &probe->state, &found);
    if (!status)
        status = fs_results_write_start(run->results, unit, run->launch, run->rank);
    if (!status && probe->state.epoch == in->settings->probe.epochs) /* killed between its last state and its record */
        status = fs_results_write_probe(run->results, unit, probe->state.weight);
    if (found) {
        printf("probe: layer %d goes on after epoch %d, batch %d\n", probe->layer, probe->state.epoch, probe->state.batch);
        fflush(stdout);
    }
    return status;
}

static void share_state(struct team *team, fs_probe *probe, size_t weights)
{
    float *weight = probe->state.weight, *momentum = probe->state.momentum;
    fs_share_bytes(team->own.comm, 0, &probe->state, sizeof probe->state);
    probe->state.weight = weight;
    probe->state.momentum = momentum;
    fs_share_bytes(team->own.comm, 0, weight, weights * sizeof *weight);
    fs_share_bytes(team->own.comm, 0, momentum, weights * sizeof *momentum);
}

static fs_status load_probes(struct team *team)
{
    const fs_sweep_input *in = team->run->input;
    for (int p = 0; p < team->count; p++) {
        fs_probe *probe = &team->probe[p];
        probe->layer = in->plan->layer[team->index[p]].layer;
        probe->features = fs_plan_features(in->plan, team->index[p]);
        size_t weights = probe->features * (size_t)in->net->labels;
        probe->state.weight = fs_alloc(weights, sizeof(float), "a probe's weights");
        probe->state.momentum = fs_alloc(weights, sizeof(float), "a probe's momentum");
        fs_status status = fs_agree(team->own.comm, probe->state.weight && probe->state.momentum ? FS_OK : FS_ERROR);
        if (!status && team->own.rank == 0)
            status = find_state(team, team->index[p], probe);
        status = fs_agree(team->own.comm, status);
        if (status)
            return status;
        share_state(team, probe, weights);
    }
    return FS_OK;
}

static fs_status train_bundle(struct team *team, const struct work *work, int bundle)
{
    const fs_sweep_input *in = team->run->input;
    team->count = 0;
    memset(team->probe, 0, sizeof team->probe);
    for (int i = 0; i < work->count; i++)
        if (work->bundle[i] == bundle)
            team->index[team->count++] = work->index[i];
    fs_status status = load_probes(team);
    fs_probe_events events = {team, on_epoch, between, settled, poll};
    if (!status)
        status = fs_probe_train(&team->own, in->net, in->train, in->test, &team->settings, team->probe, team->count, &events,
                                team->own.rank == 0);
    for (int p = 0; p < team->count; p++) {
        free(team->probe[p].state.weight);
        free(team->probe[p].state.momentum);
    }
    return status;
}

/* Bundle after bundle until there is no more, or a stop. */
static fs_status run_team(struct team *team, const struct work *work)
{
    fs_status status = FS_OK;
    for (;;) {
        int bundle = team->own.rank == 0 ? fs_desk_next(team->desk) : 0;
        MPI_Bcast(&bundle, 1, MPI_INT, 0, team->own.comm);
        if (bundle < 0)
            return status;
        if (!status) /* after a stop: only ask on, until the desk has no more */
            status = train_bundle(team, work, bundle);
        if (status && status != FS_STOPPED)
            fs_sweep_abort(team->run, status);
        if (status == FS_STOPPED && team->run->rank == 0)
            fs_desk_serve(team->desk, 1);
    }
}

/* Collective on world. The most teams that have ranks on the same node, of which this rank is in team `team`. */
static int teams_on_a_node(MPI_Comm world, int team)
{
    MPI_Comm node, own;
    int rank, most;
    MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_split(node, team, 0, &own);
    MPI_Comm_rank(own, &rank);
    int teams = rank == 0;
    MPI_Allreduce(MPI_IN_PLACE, &teams, 1, MPI_INT, MPI_SUM, node);
    MPI_Allreduce(&teams, &most, 1, MPI_INT, MPI_MAX, world);
    MPI_Comm_free(&own);
    MPI_Comm_free(&node);
    return most;
}

fs_status fs_sweep_probes(fs_sweep_run *run)
{
    int size = run->input->settings->team, teams = (run->ranks + size - 1) / size;
    struct work work = find_work(run, teams);
    if (!work.count)
        return FS_OK;
    if (run->rank == 0) {
        int most = (run->ranks + teams - 1) / teams; /* ranks of the largest team */
        printf("phase two: %d probe%s in %d bundle%s for %d team%s of %s%d rank%s\n", work.count, work.count == 1 ? "" : "s",
               work.bundles, work.bundles == 1 ? "" : "s", teams, teams == 1 ? "" : "s", run->ranks % teams ? "up to " : "",
               most, most == 1 ? "" : "s");
        fflush(stdout);
    }
    struct team *team = fs_alloc(1, sizeof *team, "a team");
    fs_status status = fs_agree(run->world, team ? FS_OK : FS_ERROR);
    if (status) {
        free(team);
        return status;
    }
    MPI_Comm comm;
    fs_desk desk;
    int own = (int)((long long)run->rank * teams / run->ranks);
    MPI_Comm_split(run->world, own, run->rank, &comm);
    fs_desk_open(run->world, work.bundles, teams, &desk);
    team->run = run;
    team->desk = &desk;
    team->settings = run->input->settings->probe;
    team->settings.cache /= teams_on_a_node(run->world, own);
    fs_slots_create(comm, run->input->settings->slots, &team->own);
    status = run_team(team, &work);
    fs_desk_close(&desk);
    MPI_Comm_free(&comm);
    free(team);
    return fs_agree(run->world, status);
}
