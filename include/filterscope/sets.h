/* Which filters of a layer are knocked out together (ours; phase four): groups and cumulative curves.
 *
 * A group is the filters that have a label in a cluster, G(layer, label), or a line of a file. Its sets are
 *
 *     number = group * (2 + draws) + 0        the group
 *                                    1        its complement: the group alone is left
 *                                    2 ...    `draws` random groups of its size, of all filters of the layer
 *
 * A curve takes the filters of a layer out one after the other: by a column of /silence/filters, the largest first, or by what
 * is lost without each of them ("drop"); with a '-' before the column, the smallest first; equal ones by number. Beside these
 * orders there are `draws` random ones. Measured is where a power of two filters is out, and where a power of two is left:
 *
 *     number = order * steps + step           12 filters: 1, 2, 4, 8, 10, 11 and 12 are out
 *
 * All is a function of settings and of what phase three, and for "drop" the knock-out of single filters, have recorded. */
#ifndef FILTERSCOPE_SETS_H
#define FILTERSCOPE_SETS_H

#include <mpi.h>

#include "filterscope/plan.h"
#include "filterscope/results.h"

/* The first is part of what makes random groups repeatable, and never changes. */
enum { FS_MOST_DRAWS = 1000, FS_MOST_ORDERS = 32 };

/* Groups of a file. */
typedef struct fs_group {
    int index;         /* of the layer in the plan */
    int count;         /* of filters */
    const int *filter; /* [count], in the file's order */
} fs_group;

typedef struct fs_group_list {
    int groups;
    fs_group *group; /* [groups], in the file's order */
    int *filter;     /* of all groups */
    uint32_t crc;    /* of layers and filters */
} fs_group_list;

/* An order of filters. */
typedef struct fs_order {
    int column; /* number of the column in an internal list; "drop" is the last */
    int rising; /* the smallest first */
    char name[FS_ORDER_BYTES];
} fs_order;

typedef struct fs_set_choice {
    int by_label;       /* a group for each label of each layer whose filters are knocked out ... */
    fs_group_list list; /* ... or these; groups = 0: neither */
    int curves;         /* there are curves, in these orders and `draws` random ones */
    int orders;
    fs_order order[FS_MOST_ORDERS];
    int draws; /* random groups of each group, random orders of each layer */
    uint64_t seed;
} fs_set_choice;

/* Not collective. `text`: the contents of the group file `name`, a line a group: a layer of the plan, from 1, and some of its
 * filters, from 0. What follows a '#' is a comment; lines without anything else do not count. FS_ERROR names line and word: no
 * number, a layer that is not in `plan` or whose filters are not knocked out, a filter that it does not have or that the line
 * has twice, no filter; or there is no group at all; FS_ERROR: no memory. Zeroed after a failure; else release with
 * fs_groups_free. */
fs_status fs_groups_parse(const char *name, const char *text, size_t bytes, const fs_plan *plan, fs_group_list *list);

/* Collective on comm. Rank 0 reads the file, every rank has the groups. FS_ERROR as before, or as it cannot be read. */
fs_status fs_groups_load(MPI_Comm comm, const char *path, const fs_plan *plan, fs_group_list *list);
void fs_groups_free(fs_group_list *list);

/* Not collective. `list` as "clusters,-drop,random", where random adds nothing to the random orders. FS_USAGE names a word that
 * is no column. */
fs_status fs_orders_read(const char *list, fs_set_choice *choice);

/* Not collective. Sets of groups, or of curves, of layer `index` of the plan, where its filters are knocked out. */
long fs_sets_count(const fs_set_choice *choice, const fs_plan *plan, int labels, fs_unit_kind kind, int index);

/* Not collective. How many of `filters` filters are out at step 0, 1 ... of a curve; returns the number of steps. `out` (NULL:
 * not wanted) has room for FS_MOST_STEPS. */
enum { FS_MOST_STEPS = 64 };
int fs_curve_steps(int filters, int *out);

/* Not collective. Adds blocks of such sets to the units of `plan`, of layers whose filters are knocked out. They cost about as
 * much as those of filters. FS_USAGE: a layer has more than FS_MOST_SETS. FS_ERROR: no memory. */
fs_status fs_plan_add_sets(const fs_network *net, const fs_set_choice *choice, fs_plan *plan);

/* What the sets of a layer are made of. */
typedef struct fs_set_source {
    const fs_plan *plan;
    int index, labels;
    const int32_t *cluster;          /* [filters][labels] */
    const fs_filter_row *row;        /* [filters] */
    const fs_baseline_row *baseline; /* [labels] */
    const int32_t *right;            /* [filters][labels]: without the filter */
} fs_set_source;

/* Not collective. member [filters] becomes 1 for the filters of set `number`, 0 for the others. FS_ERROR: no memory. */
fs_status fs_set_members(const fs_set_choice *choice, const fs_set_source *source, fs_unit_kind kind, int number,
                         int32_t *member);

/* Not collective. The rows of a layer's groups, or curves, without layer's number of rows: member [sets][filters], right
 * [sets][labels] and so on in `counts`. */
void fs_group_rows(const fs_set_choice *choice, const fs_set_source *source, const int32_t *member, const fs_knockout *counts,
                   fs_group_row *row);
void fs_curve_rows(const fs_set_choice *choice, const fs_set_source *source, const fs_knockout *counts, fs_curve_row *row);

#endif
