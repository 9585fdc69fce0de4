#include "base/hdf5_attribute.h"

int fs_hdf5_read_attribute(hid_t file, const char *name, hid_t type, void *value)
{
    if (H5Aexists(file, name) <= 0)
        return 0;
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), stored = H5Aget_type(attribute), space = H5Aget_space(attribute);
    int fits = H5Tget_class(stored) == H5Tget_class(type) && H5Tis_variable_str(stored) <= 0 &&
               H5Sget_simple_extent_npoints(space) == 1 && H5Aread(attribute, type, value) >= 0;
    H5Sclose(space);
    H5Tclose(stored);
    H5Aclose(attribute);
    return fits;
}
