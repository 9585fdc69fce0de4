/* The table of kinds. */
#include "ops/ops.h"

const fs_kind *const fs_kinds[] = {
    &fs_kind_input,       &fs_kind_conv,      &fs_kind_bn,      &fs_kind_relu,
    &fs_kind_relu6,       &fs_kind_leakyrelu, &fs_kind_elu,     &fs_kind_prelu,
    &fs_kind_silu,        &fs_kind_gelu,      &fs_kind_sigmoid, &fs_kind_tanh,
    &fs_kind_hardsigmoid, &fs_kind_hardswish, &fs_kind_maxpool, &fs_kind_avgpool,
    &fs_kind_globalmax,   &fs_kind_globalavg, &fs_kind_dropout, &fs_kind_flatten,
    &fs_kind_fc,          &fs_kind_from,      &fs_kind_add,     &fs_kind_concat,
    &fs_kind_scale,       &fs_kind_subsample, &fs_kind_zeropad, NULL,
};
