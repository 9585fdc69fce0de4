#include <stdlib.h>
#include <unistd.h>

#include "filterscope/memory.h"
#include "filterscope/silence.h"
#include "filterscope/slots.h"

fs_status fs_fields_create(int filters, int labels, fs_fields *fields)
{
    size_t n = (size_t)filters, k = (size_t)labels;
    fields->field = fs_alloc(n * k * k, sizeof(float), "fields");
    fields->right = fs_alloc(n, sizeof(int32_t), "right answers");
    fields->chosen = fs_alloc(n * k, sizeof(int32_t), "selected units");
    if (fields->field && fields->right && fields->chosen)
        return FS_OK;
    fs_fields_free(fields);
    return FS_ERROR;
}

void fs_fields_free(fs_fields *fields)
{
    free(fields->field);
    free(fields->right);
    free(fields->chosen);
    *fields = (fs_fields){0};
}

fs_status fs_silence_check_labels(const fs_dataset *test)
{
    uint8_t *seen = fs_alloc((size_t)test->labels, 1, "labels");
    if (!seen)
        return FS_ERROR;
    for (int n = 0; n < test->images; n++)
        seen[test->label[n]] = 1;
    fs_status status = FS_OK;
    for (int k = 0; k < test->labels && !status; k++)
        if (!seen[k])
            status = fs_fail(FS_ERROR, "no test image of label %d (%s) among %d: its averaged field is not defined", k,
                             test->label_name[k], test->images);
    free(seen);
    return status;
}

double fs_silence_bytes(int labels, int ranks, int on_node, long filters, int most)
{
    int own_labels = (labels + ranks - 1) / ranks;
    return ((double)on_node * own_labels * (double)filters + (double)labels * most) * labels * sizeof(float);
}

/* Collective on comm. Ranks of this one's node. */
static int ranks_on_node(MPI_Comm comm)
{
    MPI_Comm node;
    int on_node;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &on_node);
    MPI_Comm_free(&node);
    return on_node;
}

fs_status fs_silence_check_memory(MPI_Comm comm, int labels, int filters)
{
    int ranks;
    MPI_Comm_size(comm, &ranks);
    double needed = fs_silence_bytes(labels, ranks, ranks_on_node(comm), filters, filters) / (1 << 30);
    double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    fs_status status = FS_OK;
    if (needed >= all)
        status = fs_fail(FS_ERROR,
                         "the fields of a layer of %d filters with %d labels take %.1f GiB on a node, and this one has %.1f in "
                         "all: more nodes, or leave it out of --layers",
                         filters, labels, needed, all);
    return fs_agree(comm, status);
}

int fs_silence_fitting(MPI_Comm comm, int labels, double memory, const fs_silence_layer *layers, int count)
{
    int ranks, on_node = ranks_on_node(comm), fitting = 0, most = 0;
    long filters = 0;
    double bytes = memory > 0 ? memory * (1 << 30) : (double)fs_memory_available() / 2;
    MPI_Comm_size(comm, &ranks);
    do {
        filters += layers[fitting].filters;
        most = layers[fitting].filters > most ? layers[fitting].filters : most;
    } while (fs_silence_bytes(labels, ranks, on_node, filters, most) <= bytes && ++fitting < count);
    fitting = fitting > 0 ? fitting : 1;
    MPI_Allreduce(MPI_IN_PLACE, &fitting, 1, MPI_INT, MPI_MIN, comm);
    return fitting;
}
