#include "cli/layers.h"

#include <stdio.h>
#include <string.h>

#include "filterscope/mask.h"

enum { WORD_BYTES = 64 };

/* The next word of a list that commas separate; 0 at its end. */
static int next_word(const char **text, char word[WORD_BYTES])
{
    size_t length = strcspn(*text, ",");
    if (!**text)
        return 0;
    snprintf(word, WORD_BYTES, "%.*s", (int)length, *text);
    *text += length + ((*text)[length] == ',');
    return 1;
}

/* A number alone is a convolution's. */
static fs_status find_layer(const char *option, const char *word, const fs_network *net, int *number)
{
    char own[FS_OP_NAME_BYTES], wanted[WORD_BYTES + 4];
    int is_number = *word && strspn(word, "0123456789") == strlen(word);
    snprintf(wanted, sizeof wanted, "%s%s", is_number ? "conv" : "", word);
    for (*number = 0; *number < net->ops; ++*number) {
        const fs_op *op = &net->op[*number];
        if (!op->kind->kernels)
            continue;
        fs_op_name(net, op, own);
        if (strcmp(own, wanted) == 0)
            return FS_OK;
    }
    return fs_fail(FS_USAGE, "%s: %s has no layer '%s' (conv1 or 1, fc1 ... are names)", option, net->arch, word);
}

static void choose(const fs_network *net, int first, int last, uint8_t *chosen)
{
    for (int i = first; i <= last; i++)
        chosen[i] |= net->op[i].kind->kernels != NULL;
}

fs_status fs_choose_pairs(const char *option, const char *text, const fs_network *net, uint8_t *chosen)
{
    char word[WORD_BYTES];
    fs_status status = FS_OK;
    if (strcmp(text, "all") == 0)
        choose(net, 0, net->ops - 1, chosen);
    else if (!*text)
        status = fs_fail(FS_USAGE, "%s: names no pair of layers, as 7-8 does", option);
    else
        while (!status && next_word(&text, word)) {
            int first, last;
            char *dash = strchr(word, '-');
            if (!dash)
                return fs_fail(FS_USAGE, "%s: '%s' is no pair of layers, as 7-8 is", option, word);
            *dash = 0;
            status = find_layer(option, word, net, &first);
            if (!status)
                status = find_layer(option, dash + 1, net, &last);
            if (!status && first >= last)
                status = fs_fail(FS_USAGE, "%s: %s does not come before %s", option, word, dash + 1);
            if (!status)
                choose(net, first + 1, last, chosen);
        }
    return status;
}

fs_status fs_choose_layers(const char *option, const char *text, const fs_network *net, uint8_t *chosen)
{
    char word[WORD_BYTES];
    fs_status status = *text ? FS_OK : fs_fail(FS_USAGE, "%s: names no layer", option);
    while (!status && next_word(&text, word)) {
        int number;
        status = find_layer(option, word, net, &number);
        if (!status)
            chosen[number] = 1;
    }
    return status;
}
