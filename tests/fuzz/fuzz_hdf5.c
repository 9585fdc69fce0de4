/* Edits of a data set in one HDF5 file: it is refused, or holds together, with its images in memory as in the file. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/dataset.h"
#include "fuzz.h"

enum { IMAGES = 6, SIDE = 4, CHUNK = 4 };

static char spec[160];

static void put(hid_t file, const char *name, int axes, const hsize_t *size, const hsize_t *chunk, hid_t type,
                const void *values)
{
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(axes, size, NULL);
    if (chunk)
        H5Pset_chunk(creation, axes, chunk);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    fuzz_expect(set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(creation);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const hsize_t images[] = {IMAGES, SIDE, SIDE, 1}, chunk[] = {CHUNK, SIDE, SIDE, 1}, labels[] = {2}, record[] = {5};
    static const uint8_t pixels[IMAGES * SIDE * SIDE] = {7, 8, 9}, label[IMAGES] = {0, 1, 1, 0};
    static const uint64_t packed[] = {12, 1, 2, 3, 1};
    char path[128];
    snprintf(path, sizeof path, "%s", fuzz_path("set.h5"));
    snprintf(spec, sizeof spec, "hdf5:%s", path);
    hid_t name = H5Tcopy(H5T_C_S1), file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Tset_size(name, 4);
    put(file, "train_images", 4, images, NULL, H5T_NATIVE_UINT8, pixels);
    put(file, "train_labels", 1, images, NULL, H5T_NATIVE_UINT8, label);
    put(file, "test_images", 4, images, chunk, H5T_NATIVE_UINT8, pixels);
    put(file, "test_labels", 1, images, NULL, H5T_NATIVE_UINT8, label);
    put(file, "label_names", 1, labels, NULL, name, "cat\0dog");
    put(file, "packed", 1, record, NULL, H5T_NATIVE_UINT64, packed);
    H5Fclose(file);
    H5Tclose(name);
    fuzz_base(path);
    return 0;
}

/* The images that stay in the file are those of the memory. */
static void compare(fs_split split)
{
    const fs_data_request request = {.split = split, .memory = 1};
    fs_dataset stream, whole;
    fs_status status = fs_dataset_open_as(spec, &request, &stream);
    if (status) {
        fuzz_expect_refusal(status);
        return;
    }
    if (fs_dataset_open(spec, split, 0, &whole) == FS_OK) {
        fuzz_expect(whole.crc == stream.crc && whole.images == stream.images);
        fs_dataset_close(&whole);
    }
    fs_dataset_close(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_edit(data, size);
    for (int s = 0; s < 2; s++) {
        fuzz_dataset(spec, s ? FS_TEST : FS_TRAIN);
        compare(s ? FS_TEST : FS_TRAIN);
    }
    fuzz_restore();
    return 0;
}
