#define _GNU_SOURCE /* sched_getaffinity, CPU_ISSET */

#include "filterscope/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "filterscope/blas.h"

/* FS_SIMD (base/simd.h) knows levels of x86-64, the kernels by hand (nn/gemm.c) instructions. */
static const char *generation(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    int avx512 = __builtin_cpu_supports("avx512f");
#ifndef __clang__
    if (__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v4";
    if (__builtin_cpu_supports("x86-64-v3"))
        return avx512 ? "x86-64-v3 with AVX-512 F" : "x86-64-v3";
#endif
    if (avx512)
        return "x86-64 with AVX-512 F";
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "x86-64 with AVX2" : "x86-64";
#else
    static struct utsname system;
    return uname(&system) == 0 ? system.machine : "a CPU";
#endif
}

void fs_cpu_kind(char kind[FS_CPU_KIND_BYTES])
{
    char blas[FS_CPU_KIND_BYTES];
    fs_blas_name(blas, sizeof blas);
    snprintf(kind, FS_CPU_KIND_BYTES, "%.27s, %.50s", generation(), blas);
}

/* The lowest hardware thread of the core that `thread` belongs to; without the kernel's word, itself. */
static int core_of(int thread)
{
    char path[96];
    int first = thread;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return thread;
    if (fscanf(file, "%d", &first) != 1)
        first = thread;
    fclose(file);
    return first;
}

int fs_cpu_core(void)
{
    cpu_set_t set; /* more hardware threads than it has room for: an error, which is "not told" */
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return -1;
    int core = -1;
    for (int thread = 0; thread < CPU_SETSIZE; thread++) {
        if (!CPU_ISSET(thread, &set))
            continue;
        int own = core_of(thread);
        if (core >= 0 && own != core)
            return -1;
        core = own;
    }
    return core;
}
