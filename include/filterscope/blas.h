/* The BLAS that this program was built with (-Dblas=), and its kernels for this CPU. */
#ifndef FILTERSCOPE_BLAS_H
#define FILTERSCOPE_BLAS_H

#include <stddef.h>

/* Not collective. The OPENBLAS_CORETYPE that makes OpenBLAS faster on this CPU than its own choice `core` does, or NULL where
 * it is best left alone: releases that do not know a CPU of AMD's with AVX-512 take their AVX2 kernels for it ("Haswell" or
 * "Zen"), at half the speed.
 *   avx512  in  the CPU has AVX-512 F, BW, DQ and VL
 *   wanted  in  the user's own OPENBLAS_CORETYPE, which wins; NULL without one */
const char *fs_blas_better_core(const char *core, int avx512, const char *wanted);

/* Not collective; before MPI_Init. Where fs_blas_better_core knows one, sets OPENBLAS_CORETYPE, which OpenBLAS reads when it is
 * loaded, and executes this program anew with the same arguments; otherwise, with another BLAS, or where that fails, returns.
 * Then sets one thread: one rank a core, and more threads would only wait for each other. */
void fs_blas_start(char **argv);

/* Not collective. Lets OpenBLAS take its buffer while there is memory: later it would ask for one again and again, for ever. */
void fs_blas_reserve(void);

/* Not collective. The kernels that were chosen for this CPU ("SkylakeX"); "unknown" where the library does not tell. Static. */
const char *fs_blas_core(void);

/* Not collective. "OpenBLAS 0.3.21 NO_LAPACKE ...": the library, its version and, of OpenBLAS, how it was built. Static. */
const char *fs_blas_library(void);

/* Not collective. "OpenBLAS 0.3.21 SkylakeX": the library, its version, its kernels. */
void fs_blas_name(char *name, size_t size);

#endif
