#include "model/bands.h"

#include <math.h>

/* Floats of the maps that a step reads and writes which should stay in the second-level cache together. */
enum { CACHE_FLOATS = 1 << 18 };

/* A step joins a band of images fewer by less than so much than it would take itself, ... */
enum { MUCH = 4 };
/* ... or of any number where it reads no more weights than these, which are there for every one of them. */
enum { FEW_WEIGHTS = CACHE_FLOATS / 4 };

static double floats_of_an_image(const fs_step *step)
{
    const fs_op *op = step->op;
    double floats = (double)fs_op_outputs(step->last) + (double)fs_op_inputs(op);
    for (int k = 1; k < op->inputs; k++)
        floats += op->input[k] ? (double)fs_op_outputs(op->input[k]) : 0;
    return floats;
}

static int is_divisible(const fs_step *step)
{
    const fs_op *op = step->op;
    return !op->dense && (!op->kind->stands_alone || op->kind->stands_alone(op));
}

/* Floats of weights that a pass reads: Winograd's are four times those of the kernel. */
static size_t weights_of(const fs_step *step)
{
    const fs_kind *kind = step->op->kind;
    return kind->folded ? kind->folded(step) : step->op->weights;
}

/* Images that a step would take at a time, of any number: as many as the cache holds, or as make the reading of its weights
 * pay. */
static double images_of(const fs_step *step)
{
    double weights = (double)weights_of(step);
    return is_divisible(step) ? (weights > CACHE_FLOATS ? weights : CACHE_FLOATS) / floats_of_an_image(step) : HUGE_VAL;
}

/* Whether a step that would take `wanted` images joins a band of `now`. */
static int joins(const fs_step *step, double wanted, int now, int images)
{
    if (now == images)
        return wanted >= images;
    return is_divisible(step) && now < MUCH * wanted && (wanted < MUCH * now || weights_of(step) <= FEW_WEIGHTS);
}

static int within(double wanted, int images)
{
    return wanted > images ? images : wanted < 1 ? 1 : (int)wanted;
}

int fs_bands_list(const fs_step *step, int steps, int images, fs_use use, fs_band *band)
{
    int bands = 0;
    for (int s = 0; s < steps; s++) {
        double wanted = images_of(&step[s]);
        int probed = s > 0 && step[s - 1].last->probed, taken = within(wanted, images);
        if (s == 0 || (probed && use == FS_FOR_PROBES) || !joins(&step[s], wanted, band[bands - 1].images, images))
            band[bands++] = (fs_band){s, s, taken};
        fs_band *own = &band[bands - 1];
        own->last = s;
        own->images = taken < own->images ? taken : own->images;
    }
    for (int b = 0; b < bands; b++)
        if (band[b].first == band[b].last || use == FS_FOR_STEPS)
            band[b].images = images; /* nothing would stay in the cache, or nobody knows of bands */
    return bands;
}

/* The band of step `s`, `from` or one behind it. */
static const fs_band *band_of(int s, const fs_band *from)
{
    while (from->last < s)
        from++;
    return from;
}

/* A map that holds the whole batch lives as long as any band that touches it runs. */
static fs_life life_of(const fs_step *step, int s, const fs_readers *readers, const fs_band *own, const fs_band *end,
                       int images, int whole)
{
    fs_life life = {.first = s, .last = readers[s].last, .over = -1, .floats = fs_op_outputs(step[s].last)};
    const fs_band *reader = end[-1].last < life.last ? NULL : band_of(life.last, own);
    life.floats *= whole ? images : own->images;
    if (whole && own->images < images)
        life.first = own->first;
    if (whole && reader && reader->images < images)
        life.last = reader->last;
    return life;
}

void fs_bands_lives(const fs_step *step, const fs_readers *readers, const fs_band *band, int bands, int images, fs_life *life,
                    int *whole)
{
    const fs_band *end = band + bands;
    for (const fs_band *own = band; own < end; own++)
        for (int s = own->first; s <= own->last; s++) {
            int source = step[s].source[0], divided = own->images < images;
            whole[s] = !divided || readers[s].last > own->last;
            life[s] = life_of(step, s, readers, own, end, images, whole[s]);
            int over = step[s].op->kind->in_place && source >= 0 && readers[source].last == s;
            if (over && whole[source] == whole[s] && (!divided || !whole[s]))
                life[s].over = source;
        }
}
