#include "base/hdf5_table.h"

#include <string.h>

/* 1 where so many elements are in the file, one behind the other: HDF5 1.10 may crash on reading a damaged layout. */
static int is_stored(hid_t set, hsize_t elements)
{
    hid_t type = H5Dget_type(set);
    hsize_t bytes = elements * H5Tget_size(type);
    H5Tclose(type);
    return H5Dget_storage_size(set) == bytes && (bytes == 0 || H5Dget_offset(set) != HADDR_UNDEF);
}

hid_t fs_hdf5_open_shaped(hid_t file, const char *path, int dimensions, const hsize_t *size)
{
    hsize_t found[4] = {0};
    hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    if (set < 0)
        return -1;
    hid_t space = H5Dget_space(set);
    int fits = H5Sget_simple_extent_ndims(space) == dimensions && H5Sget_simple_extent_dims(space, found, NULL) >= 0 &&
               memcmp(found, size, (size_t)dimensions * sizeof *size) == 0;
    if (fits && is_stored(set, (hsize_t)H5Sget_simple_extent_npoints(space))) {
        H5Sclose(space);
        return set;
    }
    H5Sclose(space);
    H5Dclose(set);
    return -1;
}

int fs_hdf5_write_attribute(hid_t object, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t written = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    return written >= 0;
}

hid_t fs_hdf5_string(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    return type;
}

int fs_hdf5_write_table(hid_t file, const char *path, hid_t type, hsize_t rows, const void *values)
{
    hid_t space = H5Screate_simple(1, &rows, NULL), packed = H5Tcopy(type);
    H5Tpack(packed);
    hid_t set = H5Dcreate2(file, path, packed, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    herr_t written = set < 0 ? -1 : rows ? H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) : 0;
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(space);
    H5Tclose(packed);
    H5Tclose(type);
    return written >= 0;
}

int fs_hdf5_read_table(hid_t file, const char *path, hid_t type, hsize_t rows, void *values)
{
    hid_t set = fs_hdf5_open_shaped(file, path, 1, &rows);
    herr_t got = set < 0 ? -1 : rows ? H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) : 0;
    if (set >= 0)
        H5Dclose(set);
    H5Tclose(type);
    return got >= 0;
}

hsize_t fs_hdf5_rows(hid_t file, const char *path)
{
    hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    if (set < 0)
        return 0;
    hid_t space = H5Dget_space(set);
    hssize_t rows = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    H5Dclose(set);
    return rows > 0 ? (hsize_t)rows : 0;
}
