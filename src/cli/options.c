/* Options from a table, with getopt_long. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MOST_OPTIONS = 40 };

static void print_help(const char *usage, const fs_option *options)
{
    printf("usage: filterscope %s\n\n", usage);
    for (const fs_option *o = options; o->name; o++)
        printf("  --%-20s %s\n", o->name, o->help);
}

/* strtod takes blanks, hexadecimal numbers, infinities and NaNs, too, which are slips here. */
int fs_number_read(const char *text, const char **end, double *value)
{
    char *last;
    errno = 0;
    *value = strtod(text, &last);
    *end = last;
    return last > text && strspn(text, "+-.0123456789eE") >= (size_t)(last - text) && !errno && isfinite(*value);
}

static fs_status read_number(const fs_option *o, const char *text, int whole, double *value)
{
    const char *end;
    int read = fs_number_read(text, &end, value);
    if (!read || *end || (whole && *value != floor(*value)))
        return fs_fail(FS_USAGE, "--%s: '%s' is not a %s%s", o->name, text, whole ? "whole number" : "number",
                       errno == ERANGE ? " that a double can hold" : "");
    if (*value < o->least || *value > o->most)
        return fs_fail(FS_USAGE, "--%s: %s is not in %.10g .. %.10g", o->name, text, o->least, o->most);
    return FS_OK;
}

static fs_status read_seed(const fs_option *o, const char *text)
{
    char *end;
    errno = 0;
    *(uint64_t *)o->value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno)
        return fs_fail(FS_USAGE, "--%s: '%s' is not a whole number of 0 .. 2^64 - 1", o->name, text);
    return FS_OK;
}

static fs_status read_value(const fs_option *o, const char *text)
{
    double number = 0;
    fs_status status = FS_OK;
    switch (o->kind) {
    case FS_OPTION_TEXT:
        *(const char **)o->value = text;
        break;
    case FS_OPTION_FLAG:
        *(int *)o->value = 1;
        break;
    case FS_OPTION_SEED:
        return read_seed(o, text);
    case FS_OPTION_INT:
        status = read_number(o, text, 1, &number);
        if (!status)
            *(int *)o->value = (int)number;
        break;
    case FS_OPTION_NUMBER:
        status = read_number(o, text, 0, &number);
        if (!status)
            *(double *)o->value = number;
        break;
    }
    return status;
}

static void list_options(const fs_option *options, struct option *list)
{
    int count = 0;
    for (; options[count].name; count++)
        list[count] = (struct option){
            options[count].name, options[count].kind == FS_OPTION_FLAG ? no_argument : required_argument, NULL, 1000 + count};
    list[count++] = (struct option){"help", no_argument, NULL, 'h'};
    list[count] = (struct option){0};
}

fs_status fs_options_read(int argc, char **argv, const char *usage, const fs_option *options, const char **word)
{
    struct option list[MOST_OPTIONS + 2];
    int code;
    list_options(options, list);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, ":h", list, NULL)) != -1) {
        if (code == 'h') {
            int rank = 0, initialised;
            MPI_Initialized(&initialised);
            if (initialised)
                MPI_Comm_rank(MPI_COMM_WORLD, &rank);
            if (rank == 0)
                print_help(usage, options);
            return FS_STOPPED;
        }
        if (code == ':')
            return fs_fail(FS_USAGE, "%s: %s needs a value", argv[0], argv[optind - 1]);
        if (code == '?')
            return fs_fail(FS_USAGE, "%s: no option %s (filterscope %s --help lists them)", argv[0], argv[optind - 1], argv[0]);
        fs_status status = read_value(&options[code - 1000], optarg);
        if (status)
            return status;
    }
    int words = argc - optind;
    if (word && words >= 1)
        *word = argv[optind];
    if (words > (word ? 1 : 0))
        return fs_fail(FS_USAGE, "%s: unexpected '%s'", argv[0], argv[optind + (word ? 1 : 0)]);
    if (word && words < 1)
        return fs_fail(FS_USAGE, "usage: filterscope %s", usage);
    return FS_OK;
}
