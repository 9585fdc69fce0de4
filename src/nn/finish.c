#include "nn/finish.h"

#include "base/simd.h"
#include "filterscope/layers.h"

FS_SIMD static void clip(size_t count, float floor, float ceiling, float *x)
{
    for (size_t i = 0; i < count; i++) {
        float value = x[i] < floor ? floor : x[i];
        x[i] = value > ceiling ? ceiling : value;
    }
}

void fs_conv_finish(const fs_conv_after *after, size_t first, size_t count, float *y)
{
    float *own = y + first;
    if (after->addend)
        fs_add(count, own, after->addend + first);
    if (after->clips)
        clip(count, after->floor, after->ceiling, own);
    if (after->activation)
        after->activation(count, after->number, own, own);
}
