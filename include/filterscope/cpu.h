/* The CPU that this process runs on, as far as results and speed depend on it. */
#ifndef FILTERSCOPE_CPU_H
#define FILTERSCOPE_CPU_H

enum { FS_CPU_KIND_BYTES = 80 };

/* Not collective. "x86-64-v4, OpenBLAS 0.3.21 SkylakeX": the CPU's generation, as far as the loops and kernels of this
 * program tell generations apart, and the BLAS with its kernels. Processes of one build that have the same kind round alike. */
void fs_cpu_kind(char kind[FS_CPU_KIND_BYTES]);

/* Not collective. The core that this process is bound to: the lowest number of its hardware threads; -1 where the process
 * may run on several cores, or the kernel does not tell. */
int fs_cpu_core(void);

#endif
