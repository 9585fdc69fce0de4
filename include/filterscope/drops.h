/* Whether what a filter's field shows tells what is lost without it (ours; phase four). */
#ifndef FILTERSCOPE_DROPS_H
#define FILTERSCOPE_DROPS_H

#include <stdint.h>

#include "filterscope/status.h"

/* Area under the ROC curve of `positive` as a predictor of value: the share of pairs, one positive and one not, of which the
 * positive one has the larger value; ties count half. Values come in groups (filters) of `width`.
 *   order     in  [count]: places in value and positive, by rising value, ties in any order
 *   weight    in  [count / width]: how often a group counts; NULL: once
 * NaN where all or none are positive. */
double fs_auc(int count, int width, const int *order, const double *value, const uint8_t *positive, const int *weight);

/* order [count] for fs_auc. */
void fs_order(int count, const double *value, int *order);

/* Not collective. The same in `samples` samples of as many groups, drawn with replacement: [low, high] holds the middle 95 % of
 * them. A pure function of its arguments. NaN where fs_auc is, in all of them. FS_ERROR: no memory. */
fs_status fs_auc_interval(int count, int width, const int *order, const double *value, const uint8_t *positive, uint32_t stream,
                          int samples, double *low, double *high);

/* Spearman's rank correlation of a and b [count], ties having their mean rank; NaN where one of them is constant, or a value is
 * NaN. `room` is for 2 count doubles and count ints. */
double fs_rank_correlation(int count, const double *a, const double *b, double *room, int *order);

#endif
