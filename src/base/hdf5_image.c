#include "base/hdf5_image.h"

#include <stdlib.h>
#include <string.h>

/* The memory of HDF5's file in memory, which at its close stays with us: H5Fget_file_image of HDF5 1.10 gives a superblock that
 * differs from its own checksum. */
static void *image_malloc(size_t size, H5FD_file_image_op_t op, void *kept)
{
    (void)op;
    (void)kept;
    return malloc(size);
}

static void *image_copy(void *to, const void *from, size_t size, H5FD_file_image_op_t op, void *kept)
{
    (void)op;
    (void)kept;
    return memcpy(to, from, size);
}

static void *image_realloc(void *image, size_t size, H5FD_file_image_op_t op, void *kept)
{
    (void)op;
    (void)kept;
    return realloc(image, size);
}

static herr_t image_free(void *image, H5FD_file_image_op_t op, void *kept)
{
    if (op == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
        *(void **)kept = image;
    else
        free(image);
    return 0;
}

static void *image_same(void *kept)
{
    return kept;
}

static herr_t image_nothing(void *kept)
{
    (void)kept;
    return 0;
}

hid_t fs_hdf5_create_image(void **image)
{
    enum { STEP = 16 << 20 }; /* bytes by which the memory grows */
    H5FD_file_image_callbacks_t callbacks = {image_malloc, image_copy,    image_realloc, image_free,
                                             image_same,   image_nothing, image};
    hid_t in_memory = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(in_memory, STEP, 0);
    H5Pset_libver_bounds(in_memory, H5F_LIBVER_V18, H5F_LIBVER_V18);
    H5Pset_file_image_callbacks(in_memory, &callbacks);
    hid_t file = H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, in_memory);
    H5Pclose(in_memory);
    return file;
}
