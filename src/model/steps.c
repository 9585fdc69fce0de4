#include "model/steps.h"

#include <stdlib.h>

#include "filterscope/memory.h"

/* Takes along as much as the step can: operations that alone read what it gives, and give what no probe wants to see before. */
static void extend(const fs_network *net, fs_step *step, int number, int *step_of)
{
    for (;;) {
        const fs_op *next = step->last->reader;
        if (step->last->readers != 1 || next->inputs != 1 || step->last->probed || !step->op->kind->take ||
            !step->op->kind->take(step, next))
            return;
        step->last = next;
        step_of[next - net->op] = number;
    }
}

int fs_steps_list(const fs_network *net, int slot_images, fs_step *step, fs_readers *readers)
{
    int count = 0;
    int *step_of = fs_alloc((size_t)net->ops, sizeof *step_of, "the steps of a network");
    if (!step_of)
        return 0;
    for (int i = 0; i < net->ops; i++)
        step_of[i] = -1;
    for (int i = 0; i < net->ops; i++) {
        if (step_of[i] >= 0)
            continue;
        fs_step *own = &step[count];
        *own = (fs_step){.op = &net->op[i], .last = &net->op[i], .slot_images = slot_images};
        step_of[i] = count;
        extend(net, own, count, step_of);
        for (int k = 0; k < own->op->inputs; k++) {
            const fs_op *input = own->op->input[k];
            own->source[k] = input ? step_of[input - net->op] : -1;
            if (input)
                readers[own->source[k]] = (fs_readers){readers[own->source[k]].count + 1, count};
        }
        count++;
    }
    readers[step_of[net->ops - 1]].last = count;
    free(step_of);
    return count;
}
