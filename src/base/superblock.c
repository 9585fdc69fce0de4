#include "base/superblock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* With offsets of eight bytes: signature, versions, flags, base, extension, end, root. Ours begin at 0 and have no extension,
 * in which HDF5 would look for other drivers. */
uint64_t fs_superblock_end_of(const void *block)
{
    static const unsigned char begin[10] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n', 2, 8};
    uint64_t place[3]; /* base, extension, end */
    if (memcmp(block, begin, sizeof begin) != 0)
        return 0;
    memcpy(place, (const char *)block + 12, sizeof place);
    return place[0] == 0 && place[1] == UINT64_MAX && place[2] <= INT64_MAX ? place[2] : 0;
}

uint64_t fs_superblock_end(int descriptor)
{
    unsigned char block[FS_SUPERBLOCK_BYTES];
    return pread(descriptor, block, sizeof block, 0) == (ssize_t)sizeof block ? fs_superblock_end_of(block) : 0;
}

fs_status fs_unless_unread(const char *path, fs_status status)
{
    int failed = errno == EIO || errno == EREMOTEIO || errno == ENXIO || errno == ESTALE || errno == ETIMEDOUT;
    return failed && status == FS_MISMATCH ? fs_fail(FS_ERROR, "%s: cannot be read: %s", path, strerror(errno)) : status;
}

int fs_superblock_fits(const char *path)
{
    struct stat found;
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* the path may be a pipe's */
    int fits = descriptor >= 0 && fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode) &&
               fs_superblock_end(descriptor) == (uint64_t)found.st_size;
    if (descriptor >= 0)
        close(descriptor);
    return fits;
}
