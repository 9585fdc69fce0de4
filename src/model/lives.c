#include "model/lives.h"

static int is_free(const fs_life *life, int before, int buffer)
{
    for (int i = 0; i < before; i++)
        if (life[i].buffer == buffer && life[i].last >= life[before].first)
            return 0;
    return 1;
}

int fs_lives_place(fs_life *life, int count, size_t *floats)
{
    int buffers = 0;
    for (int i = 0; i < count; i++) {
        int buffer = life[i].over >= 0 ? life[life[i].over].buffer : 0;
        while (life[i].over < 0 && buffer < buffers && !is_free(life, i, buffer))
            buffer++;
        if (buffer == buffers)
            floats[buffers++] = 0;
        if (floats[buffer] < life[i].floats)
            floats[buffer] = life[i].floats;
        life[i].buffer = buffer;
    }
    return buffers;
}
