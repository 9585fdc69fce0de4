/* What the fuzzers share: a scratch folder, and an HDF5 file that an input edits. A fault of the fuzzer itself aborts. */
#ifndef FILTERSCOPE_FUZZ_H
#define FILTERSCOPE_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/dataset.h"
#include "filterscope/status.h"

/* libFuzzer's entry points. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of NAME in a scratch folder, in memory where the machine has /dev/shm, that is removed at exit. Valid until the
 * next call. */
const char *fuzz_path(const char *name);

void fuzz_write(const char *path, const void *bytes, size_t size);

/* Aborts unless the condition holds: what a reader promised. */
#define fuzz_expect(condition) ((condition) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #condition))
void fuzz_broken(const char *file, int line, const char *condition) __attribute__((noreturn));

/* A refusal has a documented status and a message. */
void fuzz_expect_refusal(fs_status status);

/* Opens one split, reads all of it and closes it. */
void fuzz_dataset(const char *spec, fs_split split);

/* Takes the file at `path` as the one that fuzz_edit changes. */
void fuzz_base(const char *path);

/* Changes the file as the input says, which is a list of records of 14 bytes: what (one of the datasets and attributes, any
 * byte, the length), how many bytes (1 to 8), where (32 bits, little-endian, modulo its size), and the bytes. HDF5 guards
 * its metadata by checksums of its own; attributes are written through HDF5, so that those hold. */
void fuzz_edit(const uint8_t *data, size_t size);

/* The file as it was. */
void fuzz_restore(void);

#endif
