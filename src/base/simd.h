/* One source, a version a CPU generation, chosen when the program loads. */
#ifndef FILTERSCOPE_SIMD_H
#define FILTERSCOPE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define FS_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FS_SIMD
#endif

#endif
