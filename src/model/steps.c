#include "model/steps.h"

#include <stdlib.h>

#include "filterscope/memory.h"

/* The number of the step that gives the other input of an addition, -1 for the images, where it is there before step `number`,
 * whose output is the one; *other becomes it. */
static int other_is_there(const fs_network *net, const fs_op *one, const fs_op *sum, const int *step_of, int *other)
{
    const fs_op *op = sum->input[sum->input[0] == one];
    *other = op ? step_of[op - net->op] : -1;
    return sum->inputs == 2 && (!op || *other >= 0);
}

/* Takes along as much as the step can: operations that read what it gives, alone or beside a map that is there, and that nobody
 * else wants to see, a probe neither. */
static void extend(const fs_network *net, fs_step *step, fs_use use, int number, int *step_of)
{
    for (;;) {
        const fs_op *next = step->last->reader;
        int other = -1, seen = step->last->readers != 1 || (use != FS_FOR_ANSWERS && step->last->probed);
        if (seen || !step->op->kind->take)
            return;
        if (next->inputs > 1 && (use == FS_FOR_STEPS || !other_is_there(net, step->last, next, step_of, &other)))
            return;
        if (!step->op->kind->take(step, next))
            return;
        if (next->inputs > 1)
            step->source[step->inputs++] = other;
        step->last = next;
        step_of[next - net->op] = number;
    }
}

int fs_steps_list(const fs_network *net, int slot_images, fs_use use, fs_step *step, fs_readers *readers)
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
        *own = (fs_step){.op = &net->op[i], .last = &net->op[i], .inputs = net->op[i].inputs, .slot_images = slot_images};
        step_of[i] = count;
        for (int k = 0; k < own->inputs; k++)
            own->source[k] = own->op->input[k] ? step_of[own->op->input[k] - net->op] : -1;
        extend(net, own, use, count, step_of);
        for (int k = 0; k < own->inputs; k++)
            if (own->source[k] >= 0)
                readers[own->source[k]] = (fs_readers){readers[own->source[k]].count + 1, count};
        count++;
    }
    readers[step_of[net->ops - 1]].last = count;
    free(step_of);
    return count;
}
