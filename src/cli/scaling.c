/* --pixels, --mean and --std. */
#include <stdlib.h>

#include "cli/cli.h"

/* Numbers with commas between them into values[count]; a single one fills all where `one_for_all`. */
static fs_status read_list(const char *option, const char *text, int count, int one_for_all, double *values)
{
    const char *rest = text;
    int found = 0;
    while (found < count) {
        const char *end;
        if (!fs_number_read(rest, &end, &values[found]) || (*end && *end != ','))
            return fs_fail(FS_USAGE, "--%s: '%s' has no number at %s%s%s", option, text, *rest ? "'" : "its end", rest,
                           *rest ? "'" : "");
        found++;
        rest = end;
        if (!*rest || found == count)
            break;
        rest++;
    }
    if (*rest || (found < count && !(one_for_all && found == 1)))
        return fs_fail(FS_USAGE, "--%s: '%s': expected %s%d numbers", option, text, one_for_all ? "1 or " : "", count);
    for (int i = found; i < count; i++)
        values[i] = values[0];
    return FS_OK;
}

fs_status fs_read_scaling(const char *pixels, const char *mean, const char *std, int channels, fs_scaling *scaling)
{
    fs_status status = pixels ? read_list("pixels", pixels, 2, 0, scaling->pixel) : FS_OK;
    if (!status && mean)
        status = read_list("mean", mean, channels, 1, scaling->mean);
    if (!status && std)
        status = read_list("std", std, channels, 1, scaling->std);
    if (!status && scaling->pixel[0] == scaling->pixel[1])
        status = fs_fail(FS_USAGE, "--pixels: %g,%g is no range", scaling->pixel[0], scaling->pixel[1]);
    for (int c = 0; c < channels && !status; c++)
        if (scaling->std[c] <= 0)
            status = fs_fail(FS_USAGE, "--std: %g of channel %d is not positive", scaling->std[c], c);
    if (!status && (pixels || mean || std) && fs_scaling_check(scaling, channels) != FS_OK)
        status = fs_fail(FS_USAGE, "--pixels, --mean and --std: %s", fs_message());
    return status;
}
