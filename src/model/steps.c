#include "model/steps.h"

#include <stdlib.h>

#include "filterscope/memory.h"

/* Of each operation: how many read its output, the last of them, and the step that it belongs to. */
struct use {
    int readers;
    const fs_op *reader;
    int step;
};

static void find_readers(const fs_network *net, struct use *use)
{
    for (int i = 0; i < net->ops; i++) {
        use[i].step = -1;
        for (int k = 0; k < net->op[i].inputs; k++) {
            const fs_op *input = net->op[i].input[k];
            if (!input)
                continue;
            use[input - net->op].readers++;
            use[input - net->op].reader = &net->op[i];
        }
    }
}

/* Takes along as much as the step can: operations that alone read what it gives, and give what no probe wants to see before. */
static void extend(const fs_network *net, fs_step *step, int number, struct use *use)
{
    for (;;) {
        const struct use *own = &use[step->last - net->op];
        const fs_op *next = own->reader;
        if (own->readers != 1 || next->inputs != 1 || step->last->probed || !step->op->kind->take ||
            !step->op->kind->take(step, next))
            return;
        step->last = next;
        use[next - net->op].step = number;
    }
}

int fs_steps_list(const fs_network *net, int slot_images, fs_step *step, fs_readers *readers)
{
    int count = 0;
    struct use *use = fs_alloc((size_t)net->ops, sizeof *use, "the steps of a network");
    if (!use)
        return 0;
    find_readers(net, use);
    for (int i = 0; i < net->ops; i++) {
        if (use[i].step >= 0)
            continue;
        fs_step *own = &step[count];
        *own = (fs_step){.op = &net->op[i], .last = &net->op[i], .slot_images = slot_images};
        use[i].step = count;
        extend(net, own, count, use);
        for (int k = 0; k < own->op->inputs; k++) {
            const fs_op *input = own->op->input[k];
            own->source[k] = input ? use[input - net->op].step : -1;
            if (input)
                readers[own->source[k]] = (fs_readers){readers[own->source[k]].count + 1, count};
        }
        count++;
    }
    readers[use[net->ops - 1].step].last = count;
    free(use);
    return count;
}
