/* Reading an attribute of a file that may be anybody's. */
#ifndef FILTERSCOPE_HDF5_ATTRIBUTE_H
#define FILTERSCOPE_HDF5_ATTRIBUTE_H

#include <hdf5.h>

/* Not collective. 1 where the attribute is one element of the class of `type` and could be read into `value`: text where a
 * number is wanted, or text of varying length, is refused rather than converted. */
int fs_hdf5_read_attribute(hid_t file, const char *name, hid_t type, void *value);

#endif
