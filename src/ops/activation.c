/* Activations. */
#include <string.h>

#include "filterscope/layers.h"
#include "ops/ops.h"

static void forward_relu(const fs_pass *pass)
{
    size_t count = pass->images * fs_op_outputs(pass->step->op);
    if (pass->y != pass->x[0])
        memcpy(pass->y, pass->x[0], count * sizeof *pass->y);
    fs_relu_forward(count, pass->y);
}

static void backward_relu(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    size_t count = pass->images * fs_op_outputs(pass->step->op);
    if (dx != dy)
        memcpy(dx, dy, count * sizeof *dx);
    fs_relu_backward(count, pass->y, dx);
}

const fs_kind fs_kind_relu = {
    .word = "relu",
    .in_place = 1,
    .forward = forward_relu,
    .reads_output = 1,
    .backward = backward_relu,
};
