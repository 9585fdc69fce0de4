/* How pixels become inputs. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "filterscope/dataset.h"
#include "filterscope/memory.h"

void fs_scaling_default(fs_scaling *scaling)
{
    *scaling = (fs_scaling){.pixel = {-1, 1}};
    for (int c = 0; c < FS_MOST_CHANNELS; c++)
        scaling->std[c] = 1;
}

static double largest_input(const fs_scaling *s, int c)
{
    return fmax(fabs(s->pixel[0] - s->mean[c]), fabs(s->pixel[1] - s->mean[c])) / s->std[c];
}

fs_status fs_scaling_check(const fs_scaling *s, int channels)
{
    if (!isfinite(s->pixel[0]) || !isfinite(s->pixel[1]) || s->pixel[0] == s->pixel[1])
        return fs_fail(FS_ERROR, "pixel range %g .. %g is none", s->pixel[0], s->pixel[1]);
    for (int c = 0; c < channels; c++) {
        if (!isfinite(s->mean[c]))
            return fs_fail(FS_ERROR, "mean %g of channel %d is not finite", s->mean[c], c);
        if (!isfinite(s->std[c]) || s->std[c] <= 0)
            return fs_fail(FS_ERROR, "std %g of channel %d is not positive", s->std[c], c);
        if (!(largest_input(s, c) <= FLT_MAX))
            return fs_fail(FS_ERROR, "pixel range %g .. %g, mean %g and std %g of channel %d make inputs of up to %g",
                           s->pixel[0], s->pixel[1], s->mean[c], s->std[c], c, largest_input(s, c));
    }
    return FS_OK;
}

/* In double and rounded once: the same bits on every CPU. */
fs_status fs_dataset_set_scaling(fs_dataset *data, const fs_scaling *s)
{
    fs_status status = fs_scaling_check(s, data->channels);
    if (status)
        return status;
    if (!data->scaled)
        data->scaled = fs_alloc(256 * (size_t)data->channels, sizeof *data->scaled, "inputs for pixel values");
    if (!data->scaled)
        return FS_ERROR;
    for (int c = 0; c < data->channels; c++)
        for (int p = 0; p < 256; p++) {
            double pixel = (s->pixel[1] - s->pixel[0]) * p / 255.0 + s->pixel[0];
            data->scaled[256 * c + p] = (float)((pixel - s->mean[c]) / s->std[c]);
        }
    return FS_OK;
}
