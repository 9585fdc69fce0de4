/* Networks on the command line: their names, and what they are built for. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/architecture.h"

const char *fs_architecture_names(void)
{
    static char text[640];
    size_t used = 0;
    for (const fs_arch *arch = fs_arch_table(); arch->name; arch++) {
        const char *before = arch == fs_arch_table() ? "" : arch[1].name ? ", " : " or ";
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", before, arch->name);
    }
    snprintf(text + used, sizeof text - used, " (or a file: filterscope arch)");
    return text;
}

fs_status fs_find_input(const fs_arch *arch, const char *option, fs_layer *input)
{
    const char *text = arch->text;
    char line[64];
    int number = 0, more;
    if (option) {
        snprintf(line, sizeof line, "input %.50s", option);
        text = line;
    }
    fs_status status = fs_arch_next(option ? "--input" : arch->name, &text, &number, input, &more);
    if (!status && (!more || !fs_layer_is_input(input)))
        *input = (fs_layer){.units = 3, .size = {32, 32}};
    return status;
}
