/* filterscope: parses, prints the effective configuration, runs, and returns one documented code. */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/blas.h"
#include "filterscope/memory.h"
#include "filterscope/results.h"
#include "filterscope/slots.h"
#include "filterscope/watch.h"

struct command {
    const char *name;
    fs_status (*run)(int argc, char **argv);
    int parallel; /* runs on all ranks */
    const char *summary;
};

static const struct command commands[] = {
    {"train", fs_cli_train, 1, "phase one: train a network, data-parallel over all ranks"},
    {"sweep", fs_cli_sweep, 1, "phases two and three: probe each layer, silence all filters but one; resumes"},
    {"plan", fs_cli_plan, 1, "what a sweep will do: units, bytes, estimated time; touches nothing"},
    {"eval", fs_cli_eval, 1, "the SR of a model file on a data set, with the confusion matrix"},
    {"prune", fs_cli_prune, 1, "masks for a network by the clusters of its sweep, or by a control"},
    {"arch", fs_cli_arch, 0, "an architecture, built in or in a file, with shapes, parameters and multiply-adds"},
    {"status", fs_cli_status, 0, "how far a results or model file is"},
    {"export", fs_cli_export, 0, "a table of a results file as CSV"},
    {"check", fs_cli_check, 0, "verifies every record of a results or model file"},
    {"ranks", fs_cli_ranks, 1, "starts MPI on all ranks, and tells on which hosts and CPUs they are"},
    {"bench", fs_cli_bench, 1, "speed of each phase on random images"},
};

static void print_help(void)
{
    printf("filterscope " FS_VERSION ": shows how a trained convolutional network works, filter by filter\n\n"
           "usage: [mpirun -np N] filterscope COMMAND [options]; filterscope help COMMAND lists them\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    printf("\nexit codes: 0 complete, 1 error, 2 usage, 3 mismatch or damage, 70 a rank was lost, 75 stopped cleanly with work "
           "left\n");
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void report(fs_status status)
{
    if (status)
        fprintf(fs_messages(), "filterscope: %s\n", fs_message());
}

/* Bytes of address space: 128 MiB for OpenBLAS' buffer, the rest for Open MPI on a node of many ranks. Without them MPI_Init
 * may crash, and OpenBLAS waits for them. */
enum { LIBRARIES_NEED = 400 << 20 };

/* Every rank returns the same status; rank 0 speaks for all. */
static fs_status run_parallel(const struct command *command, int argc, char **argv)
{
    int rank;
    fs_status status = fs_memory_left(LIBRARIES_NEED, "MPI and BLAS");
    if (status) {
        report(status);
        return status;
    }
    const fs_launched launched = fs_read_launcher();
    fs_blas_reserve();
    fs_prepare_mpi();
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    status = fs_check_launcher(&launched);
    fs_watch *watch = status ? NULL : fs_watch_start(MPI_COMM_WORLD);
    if (!status)
        status = command->run(argc - 1, argv + 1);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, fs_output_check());
    if (rank == 0)
        report(status);
    fs_watch_stop(watch);
    fflush(NULL);
    if (fs_results_cannot_end())
        fs_abort(MPI_COMM_WORLD, status);
    fs_watch_end(MPI_COMM_WORLD);
    MPI_Finalize();
    return status;
}

/* What is not about a file: --help and the like. */
static fs_status print_about(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        fs_print_version();
    else
        print_help();
    return argc < 2 ? fs_fail(FS_USAGE, "no command was given") : FS_OK;
}

static int is_about(int argc, char **argv)
{
    static const char *const words[] = {"--help", "-h", "help", "--version"};
    for (size_t i = 0; argc > 1 && i < sizeof words / sizeof *words; i++)
        if (strcmp(argv[1], words[i]) == 0)
            return 1;
    return argc < 2;
}

static fs_status run_alone(const struct command *command, int argc, char **argv)
{
    fs_status status = command ? command->run(argc - 1, argv + 1) : print_about(argc, argv);
    if (!status)
        status = fs_output_check();
    report(status);
    return status;
}

int main(int argc, char **argv)
{
    fs_output_start();
    char *words[] = {argv[0], argc == 3 ? argv[2] : NULL, "--help", NULL};
    if (argc == 3 && strcmp(argv[1], "help") == 0) /* help COMMAND is COMMAND --help */
        argv = words;
    if (is_about(argc, argv))
        return (int)run_alone(NULL, argc, argv);
    const struct command *command = find(argv[1]);
    if (!command) {
        fprintf(fs_messages(), "filterscope: no command '%s' (filterscope --help lists them)\n", argv[1]);
        return FS_USAGE;
    }
    fs_blas_start(argv);
    return (int)(command->parallel ? run_parallel : run_alone)(command, argc, argv);
}
