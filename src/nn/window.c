/* Pools of any window. */
#include <string.h>

#include "base/simd.h"
#include "filterscope/layers.h"

/* The pixels of output pixel (oy, ox)'s window that are inside the map. */
struct span {
    int top, bottom, left, right;
};

static struct span span_of(const fs_window *w, int oy, int ox)
{
    int y = oy * w->stride.height - w->pad.height, x = ox * w->stride.width - w->pad.width;
    return (struct span){y < 0 ? 0 : y, y + w->kernel.height < w->height ? y + w->kernel.height : w->height, x < 0 ? 0 : x,
                         x + w->kernel.width < w->width ? x + w->kernel.width : w->width};
}

static size_t offset_of(const fs_window *w, int image, int y, int x)
{
    return (((size_t)image * w->height + (size_t)y) * w->width + (size_t)x) * w->channels;
}

FS_SIMD static void take_larger(int channels, const float *restrict x, float *restrict y)
{
    for (int c = 0; c < channels; c++)
        y[c] = x[c] > y[c] ? x[c] : y[c];
}

void fs_maxwindow_forward(int images, const fs_window *w, const float *x, float *y)
{
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < w->out_height; oy++)
            for (int ox = 0; ox < w->out_width; ox++, y += w->channels) {
                struct span s = span_of(w, oy, ox);
                memcpy(y, x + offset_of(w, n, s.top, s.left), w->channels * sizeof *y);
                for (int iy = s.top; iy < s.bottom; iy++)
                    for (int ix = s.left; ix < s.right; ix++)
                        take_larger(w->channels, x + offset_of(w, n, iy, ix), y);
            }
}

/* Adds dy to the place of channel `c`'s maximum. */
static void add_to_winner(const fs_window *w, struct span s, int image, int c, const float *x, float dy, float *dx)
{
    size_t winner = offset_of(w, image, s.top, s.left) + (size_t)c;
    for (int iy = s.top; iy < s.bottom; iy++)
        for (int ix = s.left; ix < s.right; ix++) {
            size_t at = offset_of(w, image, iy, ix) + (size_t)c;
            winner = x[at] > x[winner] ? at : winner;
        }
    dx[winner] += dy;
}

void fs_maxwindow_backward(int images, const fs_window *w, const float *x, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)images * w->height * w->width * w->channels * sizeof *dx);
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < w->out_height; oy++)
            for (int ox = 0; ox < w->out_width; ox++, dy += w->channels)
                for (int c = 0; c < w->channels; c++)
                    add_to_winner(w, span_of(w, oy, ox), n, c, x, dy[c], dx);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Of each pixel in the average of output pixel (oy, ox): its window ends with the padding. */
static float share_of(const fs_window *w, int oy, int ox)
{
    struct span s = span_of(w, oy, ox);
    int rows = smaller(w->kernel.height, w->height + w->pad.height + w->pad_end.height - oy * w->stride.height);
    int columns = smaller(w->kernel.width, w->width + w->pad.width + w->pad_end.width - ox * w->stride.width);
    if (w->inside) {
        rows = s.bottom - s.top;
        columns = s.right - s.left;
    }
    return 1.0f / ((float)rows * (float)columns);
}

void fs_avgwindow_forward(int images, const fs_window *w, const float *x, float *y)
{
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < w->out_height; oy++)
            for (int ox = 0; ox < w->out_width; ox++, y += w->channels) {
                struct span s = span_of(w, oy, ox);
                float share = share_of(w, oy, ox);
                memset(y, 0, w->channels * sizeof *y);
                for (int iy = s.top; iy < s.bottom; iy++)
                    for (int ix = s.left; ix < s.right; ix++)
                        fs_add((size_t)w->channels, y, x + offset_of(w, n, iy, ix));
                for (int c = 0; c < w->channels; c++)
                    y[c] *= share;
            }
}

FS_SIMD static void add_share(int channels, float share, const float *restrict dy, float *restrict dx)
{
    for (int c = 0; c < channels; c++)
        dx[c] += share * dy[c];
}

void fs_avgwindow_backward(int images, const fs_window *w, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)images * w->height * w->width * w->channels * sizeof *dx);
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < w->out_height; oy++)
            for (int ox = 0; ox < w->out_width; ox++, dy += w->channels) {
                struct span s = span_of(w, oy, ox);
                for (int iy = s.top; iy < s.bottom; iy++)
                    for (int ix = s.left; ix < s.right; ix++)
                        add_share(w->channels, share_of(w, oy, ox), dy, dx + offset_of(w, n, iy, ix));
            }
}
