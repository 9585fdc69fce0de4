/* Linked around filterscope for the golden table: on a CPU with AVX-512 it takes all kernels of one without. What libgcc finds
 * out about the CPU, before anything asks, is told without AVX-512 (the linker's --wrap). */
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__GNUC__)
/* libgcc's, whose layout is fixed, since every program has it compiled in. */
extern struct {
    unsigned vendor, type, subtype, features[1];
} __cpu_model;
extern unsigned __cpu_features2[];

static void clear(void)
{
    enum { AVX512F = 15, X86_64_V4 = 98 - 32 };
    __cpu_model.features[0] &= ~(1u << AVX512F);
    __cpu_features2[X86_64_V4 / 32] &= ~(1u << X86_64_V4 % 32);
}

#ifndef __clang__ /* which has no versions of a function that are chosen before the constructors */
int __real___cpu_indicator_init(void);
int __wrap___cpu_indicator_init(void);

int __wrap___cpu_indicator_init(void)
{
    int result = __real___cpu_indicator_init();
    clear();
    return result;
}
#endif

__attribute__((constructor)) static void check(void)
{
    clear();
    if (__builtin_cpu_supports("avx512f")) {
        fprintf(stderr, "this compiler keeps what it knows of the CPU elsewhere\n");
        abort();
    }
}
#endif
