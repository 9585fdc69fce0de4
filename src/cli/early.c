/* What must be so before any library is initialised, hence before main: libraries without memory crash, or wait for it.
 *
 * OpenBLAS makes its threads when it is loaded, each with a stack and a buffer: of no use here (a rank a core), and where
 * memory or processes are short they fail, or ask for ever. It reads OPENBLAS_NUM_THREADS then: where that is not 1, the
 * program executes itself anew. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "filterscope/status.h"

/* Bytes that the initialisation of all libraries may take: 128 MiB for OpenBLAS' buffer, which Debian 13's takes when it is
 * loaded, and asks for for ever, 32 for the rest. */
enum { LEAST = 160 << 20 };

static char one_thread[] = FS_BLAS_THREADS "=1"; /* OPENBLAS_NUM_THREADS, or what another BLAS calls it */

static void check_memory(void)
{
    static const char text[] = "filterscope: out of memory: no 160 MiB are left to start with (limits: ulimit -v, ulimit -d)\n";
    void *memory = mmap(NULL, LEAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) {
        munmap(memory, LEAST);
        return;
    }
    ssize_t unheard = write(STDERR_FILENO, text, sizeof text - 1);
    (void)unheard;
    _exit(FS_ERROR);
}

static int is_set(char **environment)
{
    while (*environment && strncmp(*environment, one_thread, strlen(one_thread) - 1) != 0)
        environment++;
    return *environment && strcmp(*environment, one_thread) == 0;
}

static void start(int argc, char **argv, char **environment)
{
    char path[PATH_MAX] = "";
    size_t count = 0;
    (void)argc;
    check_memory();
    while (environment[count])
        count++;
    char **changed = is_set(environment) ? NULL : malloc((count + 2) * sizeof *changed);
    if (!changed || readlink("/proc/self/exe", path, sizeof path - 1) < 0)
        return;
    changed[0] = one_thread; /* the first of a name counts */
    memcpy(changed + 1, environment, (count + 1) * sizeof *changed);
    execve(path, argv, changed);
    free(changed); /* it failed: then with OpenBLAS' threads */
}

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(int, char **, char **) = start;
