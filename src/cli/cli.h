/* The sub-commands, and what they share. */
#ifndef FILTERSCOPE_CLI_H
#define FILTERSCOPE_CLI_H

#include <mpi.h>

#include "filterscope/config.h"
#include "filterscope/dataset.h"
#include "filterscope/model_file.h"
#include "filterscope/results.h"
#include "filterscope/status.h"
#include "filterscope/target.h"

/* One option of a sub-command; a table of them ends with a row whose name is NULL. */
typedef enum fs_option_kind { FS_OPTION_TEXT, FS_OPTION_INT, FS_OPTION_SEED, FS_OPTION_NUMBER, FS_OPTION_FLAG } fs_option_kind;

typedef struct fs_option {
    const char *name; /* without dashes */
    fs_option_kind kind;
    void *value;        /* const char *, int, uint64_t, double or int (flag) */
    double least, most; /* allowed range of INT and NUMBER */
    const char *help;
} fs_option;

/* Not collective. Reads "--name value", "--name=value"; with `word` (NULL: none is allowed) exactly one word is wanted beside
 * the options. FS_USAGE names the option, the value and what is allowed. `--help` prints the table and returns FS_STOPPED. */
fs_status fs_options_read(int argc, char **argv, const char *usage, const fs_option *options, const char **word);

/* Not collective. 1 where `text` begins with a finite decimal number, and it is all that strtod would read; *end is behind. */
int fs_number_read(const char *text, const char **end, double *value);

/* Each runs one sub-command; argv[0] is its name. train, sweep, plan, eval, prune, ranks and bench are collective on
 * MPI_COMM_WORLD. */
fs_status fs_cli_train(int argc, char **argv);
fs_status fs_cli_sweep(int argc, char **argv);
fs_status fs_cli_plan(int argc, char **argv);
fs_status fs_cli_bench(int argc, char **argv);
fs_status fs_cli_status(int argc, char **argv);
fs_status fs_cli_export(int argc, char **argv);
fs_status fs_cli_check(int argc, char **argv);
fs_status fs_cli_eval(int argc, char **argv);
fs_status fs_cli_prune(int argc, char **argv);
fs_status fs_cli_arch(int argc, char **argv);
fs_status fs_cli_ranks(int argc, char **argv);

/* Not collective. First of all: standard output and fs_messages() write UTF-8 without control characters but line feed and tab
 * from now on, others as \x1b or \u202e. A stream that the caller closed fails like a full one; a pipe without a reader,
 * too. */
void fs_output_start(void);

/* Not collective. FS_ERROR with the cause where anything printed so far was not written. */
fs_status fs_output_check(void);

/* Not collective. Clears a terminal; does nothing elsewhere. */
void fs_output_clear(void);

/* Not collective. How far a sweep is: a line a layer, a phase, and who works on it; *complete: nothing is left to do. */
fs_status fs_print_progress(fs_results *results, int *complete);

/* Not collective. "50000 images of 32x32x3, 10 labels, CRC 1234abcd": what a configuration says of a data set. */
void fs_describe_data(fs_config *config, const char *key, const fs_dataset *data);

/* Not collective. "pixels -1 .. 1, mean 0, std 1, CRC ..."; of channels behind the third the CRC alone tells. */
void fs_describe_scaling(fs_config *config, int channels, const fs_scaling *scaling);

/* Not collective. "LOW,HIGH", "A" or "A,B,C" into *scaling, of which a NULL leaves its part as it is. FS_USAGE names option and
 * word. */
fs_status fs_read_scaling(const char *pixels, const char *mean, const char *std, int channels, fs_scaling *scaling);

/* Not collective. FS_MISMATCH where the network of the model file `path` was made for images or labels other than those of
 * `data`. */
fs_status fs_check_fits(const char *path, const fs_network *net, const char *spec, const fs_dataset *data);

/* Collective on MPI_COMM_WORLD. Images are scaled as `scaling` says from now on; the same status on every rank. */
fs_status fs_scale_data(const fs_scaling *scaling, fs_dataset *train, fs_dataset *test);

/* Not collective. "vgg16, vgg16-fc1 ... or mobilenetv2 (or a file: filterscope arch)": what --arch takes. */
const char *fs_architecture_names(void);

/* Not collective. The images that an architecture is built for: those of `option` (NULL: none), else of the text's input line,
 * else 32x32x3. FS_USAGE: they are none. */
fs_status fs_find_input(const fs_arch *arch, const char *option, fs_layer *input);

/* Not collective. The --slots that a first start on `ranks` ranks takes: a power of two, 4 .. 16. */
int fs_default_slots(int ranks);

/* Not collective. FS_USAGE where `slots` is no power of two. */
fs_status fs_check_slots(int slots);

/* Not collective. Prints the BLAS core and the configuration, a "key value" line each. */
void fs_print_config(const char *title, const fs_config *config);

/* What the command line says of a data set. */
typedef struct fs_data_choice {
    const char *spec;
    const char *label_names; /* file; NULL: the set's own names */
    int train_images;        /* 0: all */
    int test_images;
    const char *keep_labels; /* of train: 0-9,12; NULL: all */
    int drop_empty;          /* leave out labels without a training or a test image */
    double hold_back;        /* of train: share of the training images; 0: none */
    double memory;           /* GiB of training images on a node; more stay in their file. 0: half of what is free */
} fs_data_choice;

/* The options that train, sweep, plan and eval have in common, as rows of their tables. */
#define FS_DATA_OPTIONS(choice)                                                                                                \
    {"data", FS_OPTION_TEXT, &(choice)->spec, 0, 0, FS_DATASET_SPECS},                                                         \
        {"label-names",                                                                                                        \
         FS_OPTION_TEXT,                                                                                                       \
         &(choice)->label_names,                                                                                               \
         0,                                                                                                                    \
         0,                                                                                                                    \
         "file with the labels' names, one a line (the set's own, else numbers)"},                                             \
        {"drop-empty-labels",                                                                                                  \
         FS_OPTION_FLAG,                                                                                                       \
         &(choice)->drop_empty,                                                                                                \
         0,                                                                                                                    \
         0,                                                                                                                    \
         "leave out labels without a training or a test image"},                                                               \
    {                                                                                                                          \
        "data-memory", FS_OPTION_NUMBER, &(choice)->memory, 0, 1e6,                                                            \
            "GiB of a node for hdf5:FILE's training images; of more they stay in the file (half of what is free)"              \
    }

/* Collective on MPI_COMM_WORLD. The splits that are not NULL, on rank 0, then everywhere; the same status on every rank.
 *   model  in, out  NULL, or complete on rank 0: where it was trained on some of the set's labels, these are used; it takes the
 *                   names of choice->label_names
 *   held   out      with choice->hold_back, the images that are held back; else NULL is allowed
 * choice->drop_empty wants both splits, choice->hold_back the first. */
fs_status fs_load_data(const fs_data_choice *choice, fs_model *model, fs_dataset *train, fs_dataset *held, fs_dataset *test);

/* Not collective. Prints a line, which begins with `command`, where training images stay in their file. */
void fs_print_stream_note(const char *command, const fs_dataset *train);

/* Not collective. FS_ERROR, naming the first label without a training or a test image. */
fs_status fs_check_all_labels(const char *spec, const fs_dataset *train, const fs_dataset *test);

/* Not collective. Prints a line where two labels have the same name, and where one is that of a missing value. */
void fs_print_name_notes(const char *command, int labels, const char (*name)[FS_LABEL_NAME_BYTES]);

/* Who started this process, as one of how many at least. */
typedef struct fs_launched {
    const char *by;
    int processes;
} fs_launched;

/* Not collective; before MPI_Init, which changes the environment. What launchers of all kinds say in it. */
fs_launched fs_read_launcher(void);

/* Not collective; before MPI_Init. Sets what Open MPI needs to be silent and right where all ranks are on one host, and how a
 * thread beside the main one ends all ranks with other MPIs. */
void fs_prepare_mpi(void);

/* Not collective. FS_USAGE where this process is one of several that were launched, and MPI sees it alone: they would all do
 * the same work. */
fs_status fs_check_launcher(const fs_launched *launched);

/* Collective on MPI_COMM_WORLD. Rank 0 finds the file that the command writes, which must leave its inputs alone, and takes its
 * lock (*lock is NULL on the others). The status is the same on every rank, and so is target->path, by which alone the others
 * know the file. */
fs_status fs_lock_output(const char *name, const fs_input *inputs, fs_target *target, fs_lock **lock);

/* Collective on MPI_COMM_WORLD. What the ranks run on: hosts and kinds of CPU into *launch, whose other members become 0, on
 * rank 0. FS_MISMATCH on every rank where the kinds differ and `mixed` is 0. Prints a line, which begins with `command`,
 * where they differ, and where two ranks are bound to one core. */
fs_status fs_meet_ranks(const char *command, int mixed, fs_launch *launch);

/* Not collective. The other members: of this start of the program. */
void fs_describe_launch(int argc, char **argv, int teams, fs_launch *launch);

/* Not collective. "x86-64-v4, OpenBLAS 0.3.21 SkylakeX; ..." of an earlier start: prints a line where this one has other
 * kinds. */
void fs_compare_kinds(const char *command, const char *earlier, const char *now);

/* Collective on MPI_COMM_WORLD. Prints the most memory that a rank has had, in MiB. */
void fs_print_memory(const char *command);

/* Not collective; also before MPI_Init. Prints version, commit, compiler and its flags, libraries and the kind of CPU. */
void fs_print_version(void);

/* The row of the option `mixed` of fs_meet_ranks. */
#define FS_MIXED_OPTION(mixed)                                                                                                 \
    {                                                                                                                          \
        "mixed", FS_OPTION_FLAG, mixed, 0, 0, "allow ranks on CPUs or BLAS kernels of different kinds"                         \
    }

#endif
