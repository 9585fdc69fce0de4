/* Lines that compute nothing. */
#include <stdlib.h>

#include "ops/ops.h"
#include "ops/words.h"

static fs_status read_input(fs_words *w, fs_layer *layer)
{
    const char *word = fs_words_take(w), *rest = word ? word : "";
    layer->size.height = fs_words_number(&rest, FS_MOST_SIZE);
    rest += *rest == 'x';
    layer->size.width = fs_words_number(&rest, FS_MOST_SIZE);
    rest += *rest == 'x';
    layer->units = fs_words_number(&rest, FS_MOST_SIZE);
    if (layer->size.height >= 1 && layer->size.width >= 1 && layer->units >= 1 && !*rest)
        return FS_OK;
    return fs_words_fail(w, "'%s' is no HEIGHTxWIDTHxCHANNELS with numbers in 1 .. %d", word ? word : "", FS_MOST_SIZE);
}

static fs_status shape_input(const fs_layer *l, const fs_place *place, fs_op *op)
{
    (void)op;
    if (place->lines > 1)
        return fs_fail(FS_USAGE, "the input comes before all layers");
    if (l->size.height == place->image_height && l->size.width == place->image_width && l->units == place->image_channels)
        return FS_OK;
    return fs_fail(FS_USAGE, "the images are %dx%dx%d", place->image_height, place->image_width, place->image_channels);
}

static fs_status read_dropout(fs_words *w, fs_layer *layer)
{
    char *end;
    const char *word = fs_words_take(w);
    double p = word ? strtod(word, &end) : 0;
    (void)layer;
    if (word && (end == word || *end || !(p >= 0 && p <= 1)))
        return fs_words_fail(w, "'%s' of 'dropout' is no number in 0 .. 1", word);
    return FS_OK;
}

const fs_kind fs_kind_input = {.word = "input", .begins = 1, .read = read_input, .shape = shape_input};
const fs_kind fs_kind_dropout = {.word = "dropout", .begins = 1, .read = read_dropout, .ignored = 1};
const fs_kind fs_kind_flatten = {.word = "flatten", .flattens = 1};

int fs_layer_is_input(const fs_layer *layer)
{
    return layer->kind == &fs_kind_input;
}
