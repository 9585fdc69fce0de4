/* One source, a version a CPU generation, chosen when the program loads. */
#ifndef FILTERSCOPE_SIMD_H
#define FILTERSCOPE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define FS_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FS_SIMD
#endif

/* Before a loop of which no step needs what another has written, whatever pointers may point to: clang checks that itself. */
#ifdef __clang__
#define FS_INDEPENDENT
#else
#define FS_INDEPENDENT _Pragma("GCC ivdep")
#endif

#endif
