/* Reading and writing the model file. */
#include "filterscope/model_file.h"

#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hdf5_attribute.h"
#include "base/hdf5_contained.h"
#include "base/hdf5_image.h"
#include "base/hdf5_table.h"
#include "base/publish.h"
#include "base/superblock.h"
#include "filterscope/mask.h"
#include "filterscope/memory.h"
#include "filterscope/path.h"
#include "model/arrays.h"
#include "model/label_numbers.h"
#include "model/mask_file.h"
#include "model/model_sum.h"

static const char format[] = "filterscope-model";
enum { MOST_EPOCHS = 1000000 };

static void sizes_of(const fs_array *array, hsize_t size[4])
{
    for (int d = 0; d < array->dimensions; d++)
        size[d] = array->size[d];
}

static fs_status write_array(const fs_array *array, void *context)
{
    hid_t file = *(hid_t *)context;
    hsize_t size[4];
    sizes_of(array, size);
    hid_t space = H5Screate_simple(array->dimensions, size, NULL);
    hid_t set = H5Dcreate2(file, array->path, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    herr_t written = set < 0 ? -1 : H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->values);
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(space);
    return written < 0 ? fs_fail(FS_ERROR, "cannot write %s", array->path) : FS_OK;
}

static fs_status read_array(const fs_array *array, void *context)
{
    hid_t file = *(hid_t *)context;
    hsize_t size[4];
    sizes_of(array, size);
    hid_t set = fs_hdf5_open_shaped(file, array->path, array->dimensions, size);
    if (set < 0)
        return fs_fail(FS_MISMATCH, "%s is missing or does not fit the architecture", array->path);
    herr_t got = H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->values);
    H5Dclose(set);
    return got < 0 ? fs_fail(FS_MISMATCH, "cannot read %s", array->path) : FS_OK;
}

/* Attributes: one table serves both directions. */
struct attribute {
    const char *name;
    hid_t type;
    void *value;
};

enum { ATTRIBUTES = 10 };

struct numbers {
    int32_t height, width, channels, labels, epochs, epoch, batch;
    int64_t right;
    double loss;
    uint32_t crc;
};

static void list_attributes(struct numbers *n, struct attribute list[ATTRIBUTES])
{
    const struct attribute all[ATTRIBUTES] = {
        {"height", H5T_NATIVE_INT32, &n->height},     {"width", H5T_NATIVE_INT32, &n->width},
        {"channels", H5T_NATIVE_INT32, &n->channels}, {"labels", H5T_NATIVE_INT32, &n->labels},
        {"epochs", H5T_NATIVE_INT32, &n->epochs},     {"epoch", H5T_NATIVE_INT32, &n->epoch},
        {"batch", H5T_NATIVE_INT32, &n->batch},       {"right", H5T_NATIVE_INT64, &n->right},
        {"loss", H5T_NATIVE_DOUBLE, &n->loss},        {"crc", H5T_NATIVE_UINT32, &n->crc},
    };
    memcpy(list, all, sizeof all);
}

static hid_t config_type(void)
{
    hid_t key = fs_hdf5_string(FS_CONFIG_KEY_BYTES), value = fs_hdf5_string(FS_CONFIG_VALUE_BYTES);
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(fs_config_entry));
    H5Tinsert(type, "key", HOFFSET(fs_config_entry, key), key);
    H5Tinsert(type, "value", HOFFSET(fs_config_entry, value), value);
    H5Tclose(key);
    H5Tclose(value);
    return type;
}

/* Behind the seconds: what format version 5 alone has. */
static hid_t history_type(int is_long)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(fs_train_row));
    H5Tinsert(type, "epoch", HOFFSET(fs_train_row, epoch), H5T_NATIVE_INT32);
    H5Tinsert(type, "lr", HOFFSET(fs_train_row, lr), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "fc_lr", HOFFSET(fs_train_row, fc_lr), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "train_loss", HOFFSET(fs_train_row, train_loss), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "train_sr", HOFFSET(fs_train_row, train_sr), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "test_sr", HOFFSET(fs_train_row, test_sr), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "seconds", HOFFSET(fs_train_row, seconds), H5T_NATIVE_DOUBLE);
    if (is_long) {
        H5Tinsert(type, "held_sr", HOFFSET(fs_train_row, held_sr), H5T_NATIVE_DOUBLE);
        H5Tinsert(type, "last_test_sr", HOFFSET(fs_train_row, last_test_sr), H5T_NATIVE_DOUBLE);
        H5Tinsert(type, "last_held_sr", HOFFSET(fs_train_row, last_held_sr), H5T_NATIVE_DOUBLE);
    }
    return type;
}

static int write_history_crc(hid_t file, const fs_model *model)
{
    uint32_t crc = fs_model_sum_history(model);
    hid_t set = H5Dopen2(file, "/history", H5P_DEFAULT);
    int written = set >= 0 && fs_hdf5_write_attribute(set, "crc", H5T_NATIVE_UINT32, &crc);
    if (set >= 0)
        H5Dclose(set);
    return written;
}

static int history_is_sound(hid_t file, const fs_model *model)
{
    uint32_t crc = 0;
    hid_t set = H5Dopen2(file, "/history", H5P_DEFAULT);
    int sound = set >= 0 && fs_hdf5_read_attribute(set, "crc", H5T_NATIVE_UINT32, &crc) && crc == fs_model_sum_history(model);
    if (set >= 0)
        H5Dclose(set);
    return sound;
}

/* The attribute `kinds` is not there where it is not known. */
static int write_kinds(hid_t file, const fs_model *model)
{
    if (!*model->kinds)
        return 1;
    hid_t text = fs_hdf5_string(sizeof model->kinds);
    int written = fs_hdf5_write_attribute(file, "kinds", text, model->kinds);
    H5Tclose(text);
    return written;
}

static void read_kinds(hid_t file, fs_model *model)
{
    if (H5Aexists(file, "kinds") <= 0)
        return;
    hid_t text = fs_hdf5_string(sizeof model->kinds);
    if (!fs_hdf5_read_attribute(file, "kinds", text, model->kinds))
        *model->kinds = 0; /* which the CRC tells */
    H5Tclose(text);
    model->kinds[sizeof model->kinds - 1] = 0;
}

static fs_status write_all(hid_t file, const fs_model *model)
{
    const fs_network *net = &model->net;
    struct numbers n = {net->height,  net->width,   net->channels, net->labels, model->epochs,
                        model->epoch, model->batch, model->right,  model->loss, fs_model_sum(model)};
    struct attribute list[ATTRIBUTES];
    list_attributes(&n, list);
    int32_t version = fs_model_version(model);
    hid_t text = fs_hdf5_string(sizeof net->arch);
    char padded[sizeof net->arch] = "";
    memcpy(padded, format, sizeof format);
    int done = fs_hdf5_write_attribute(file, "format", text, padded) &&
               fs_hdf5_write_attribute(file, "arch", text, net->arch) &&
               fs_hdf5_write_attribute(file, "format_version", H5T_NATIVE_INT32, &version);
    H5Tclose(text);
    for (int i = 0; i < ATTRIBUTES && done; i++)
        done = fs_hdf5_write_attribute(file, list[i].name, list[i].type, list[i].value);
    done = done && write_kinds(file, model);
    const char *groups[] = {"/parameter", "/momentum", "/statistic", "/scaling", "/last"};
    for (int i = 0; i < (model->last.parameter ? 5 : 4) && done; i++) {
        hid_t group = H5Gcreate2(file, groups[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        done = group >= 0 && H5Gclose(group) >= 0;
    }
    done =
        done && fs_hdf5_write_table(file, "/architecture", fs_hdf5_string(strlen(net->text)), 1, net->text) &&
        fs_hdf5_write_table(file, "/scaling/pixel", H5Tcopy(H5T_NATIVE_DOUBLE), 2, model->scaling.pixel) &&
        fs_hdf5_write_table(file, "/scaling/mean", H5Tcopy(H5T_NATIVE_DOUBLE), (hsize_t)net->channels, model->scaling.mean) &&
        fs_hdf5_write_table(file, "/scaling/std", H5Tcopy(H5T_NATIVE_DOUBLE), (hsize_t)net->channels, model->scaling.std);
    done = done && fs_hdf5_write_table(file, "/config", config_type(), (hsize_t)model->config.count, model->config.entry) &&
           fs_hdf5_write_table(file, "/label_names", fs_hdf5_string(FS_LABEL_NAME_BYTES), (hsize_t)net->labels,
                               model->label_name) &&
           fs_label_numbers_write(file, model) && fs_masks_write(file, net) &&
           fs_hdf5_write_table(file, "/history", history_type(version == FS_MODEL_VERSION_LONG), (hsize_t)model->epoch,
                               model->history) &&
           write_history_crc(file, model);
    fs_status status = done ? FS_OK : fs_fail(FS_ERROR, "cannot write attributes and tables");
    if (!status)
        status = fs_each_array(net, write_array, &file);
    return status ? status : fs_each_last_array(net, &model->last, write_array, &file);
}

/* The file as HDF5 builds it in memory: HDF5 1.10 crashes when a disk that is full keeps it from closing a file. */
static fs_status build_image(const fs_model *model, void **image, size_t *size)
{
    hid_t file = fs_hdf5_create_image(image);
    if (file < 0)
        return fs_fail(FS_ERROR, "out of memory for the model file");
    fs_status status = write_all(file, model);
    if (H5Fclose(file) < 0 || !*image)
        return status ? status : fs_fail(FS_ERROR, "out of memory for the model file");
    *size = (size_t)fs_superblock_end_of(*image);
    return status;
}

/* One message of ours instead of HDF5's stack; no locks, as not every cluster's file system has flock. */
static void set_up_hdf5(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
}

static fs_status save(const char *path, fs_target *target, const fs_model *model)
{
    void *image = NULL;
    size_t size = 0;
    set_up_hdf5();
    fs_status status = build_image(model, &image, &size);
    if (status)
        fs_fail(status, "%s: %s", path, fs_message());
    else
        status = fs_publish(path, target, image, size);
    free(image);
    return status;
}

fs_status fs_model_save(const char *path, const fs_model *model)
{
    return save(path, NULL, model);
}

fs_status fs_model_replace(fs_target *target, const fs_model *model)
{
    return save(target->path, target, model);
}

static fs_status read_header(hid_t file, struct numbers *n, int32_t *version, char *arch, size_t arch_bytes)
{
    char found[sizeof((fs_network *)0)->arch + 1] = "";
    hid_t text = fs_hdf5_string(arch_bytes);
    *version = 0;
    int read = fs_hdf5_read_attribute(file, "format", text, found) && strcmp(found, format) == 0;
    if (!read) {
        H5Tclose(text);
        return fs_fail(FS_MISMATCH, "not a filterscope model file");
    }
    read = fs_hdf5_read_attribute(file, "format_version", H5T_NATIVE_INT32, version);
    if (read && (*version < FS_MODEL_VERSION || *version > FS_MODEL_VERSION_LONG)) {
        H5Tclose(text);
        return fs_fail(FS_MISMATCH, "format version %d, this program reads %d to %d", *version, FS_MODEL_VERSION,
                       FS_MODEL_VERSION_LONG);
    }
    read = read && fs_hdf5_read_attribute(file, "arch", text, arch);
    H5Tclose(text);
    struct attribute list[ATTRIBUTES];
    list_attributes(n, list);
    for (int i = 0; i < ATTRIBUTES && read; i++)
        if (!fs_hdf5_read_attribute(file, list[i].name, list[i].type, list[i].value))
            return fs_fail(FS_MISMATCH, "attribute %s is missing", list[i].name);
    if (!read || n->height < 1 || n->height > 4096 || n->width < 1 || n->width > 4096 || n->channels < 1 ||
        n->channels > FS_MOST_CHANNELS || n->labels < 2 || n->labels > FS_MAX_LABELS || n->epochs < 0 ||
        n->epochs > MOST_EPOCHS || n->epoch < 0 || n->epoch > n->epochs || n->batch < 0)
        return fs_fail(FS_MISMATCH, "an attribute is missing or out of range");
    return FS_OK;
}

/* The network that /architecture describes, but for its values. */
static fs_status read_architecture(hid_t file, const char *name, const struct numbers *n, fs_network *net)
{
    hid_t set = H5Dopen2(file, "/architecture", H5P_DEFAULT), type = set < 0 ? -1 : H5Dget_type(set);
    size_t bytes = type < 0 ? 0 : H5Tget_size(type);
    fs_status status = bytes && bytes <= FS_ARCH_MOST_BYTES && fs_hdf5_rows(file, "/architecture") == 1
                           ? FS_OK
                           : fs_fail(FS_MISMATCH, "/architecture is missing or damaged");
    char *text = status ? NULL : fs_alloc(bytes + 1, 1, "the architecture");
    if (!status && !text)
        status = FS_ERROR;
    if (!status && !fs_hdf5_read_table(file, "/architecture", fs_hdf5_string(bytes), 1, text))
        status = fs_fail(FS_MISMATCH, "/architecture is missing or damaged");
    fs_arch arch = {.name = name, .text = text, .silent_floor = 1};
    if (!status)
        status = fs_network_create(&arch, n->height, n->width, n->channels, n->labels, 0, net);
    free(text);
    if (type >= 0)
        H5Tclose(type);
    if (set >= 0)
        H5Dclose(set);
    return status == FS_USAGE ? FS_MISMATCH : status;
}

static fs_status read_scaling(hid_t file, int channels, fs_scaling *scaling)
{
    if (fs_hdf5_read_table(file, "/scaling/pixel", H5Tcopy(H5T_NATIVE_DOUBLE), 2, scaling->pixel) &&
        fs_hdf5_read_table(file, "/scaling/mean", H5Tcopy(H5T_NATIVE_DOUBLE), (hsize_t)channels, scaling->mean) &&
        fs_hdf5_read_table(file, "/scaling/std", H5Tcopy(H5T_NATIVE_DOUBLE), (hsize_t)channels, scaling->std))
        return FS_OK; /* its values are checked once the CRC has told that they are the file's */
    return fs_fail(FS_MISMATCH, "/scaling is missing or does not fit %d channels", channels);
}

/* The last weights, where the file's are an average. */
static fs_status read_last(hid_t file, fs_model *model)
{
    if (H5Lexists(file, "/last", H5P_DEFAULT) <= 0)
        return FS_OK;
    fs_status status = fs_model_start_average(model);
    return status ? status : fs_each_last_array(&model->net, &model->last, read_array, &file);
}

/* What older files do not have. */
static void clear_history(fs_model *model)
{
    const double none = (double)NAN;
    for (int e = 0; e < model->epoch; e++)
        model->history[e].held_sr = model->history[e].last_test_sr = model->history[e].last_held_sr = none;
}

static fs_status read_all(hid_t file, fs_model *model)
{
    struct numbers n = {0};
    int32_t version;
    char arch[sizeof model->net.arch + 1] = "";
    fs_status status = read_header(file, &n, &version, arch, sizeof model->net.arch);
    if (status)
        return status;
    status = read_architecture(file, arch, &n, &model->net);
    if (!status)
        status = read_scaling(file, n.channels, &model->scaling);
    if (status)
        return status;
    model->epochs = n.epochs;
    model->epoch = n.epoch;
    model->batch = n.batch;
    model->right = n.right;
    model->loss = n.loss;
    model->label_name = fs_alloc((size_t)n.labels, sizeof *model->label_name, "label names");
    model->history = fs_alloc((size_t)n.epochs, sizeof *model->history, "the history");
    if (!model->label_name || !model->history)
        return FS_ERROR;
    hsize_t entries = fs_hdf5_rows(file, "/config");
    model->config.count = entries <= FS_CONFIG_ENTRIES ? (int)entries : 0;
    if (!fs_hdf5_read_table(file, "/config", config_type(), (hsize_t)model->config.count, model->config.entry) ||
        !fs_hdf5_read_table(file, "/label_names", fs_hdf5_string(FS_LABEL_NAME_BYTES), (hsize_t)n.labels, model->label_name) ||
        !fs_hdf5_read_table(file, "/history", history_type(version == FS_MODEL_VERSION_LONG), (hsize_t)n.epoch, model->history))
        return fs_fail(FS_MISMATCH, "/config, /label_names or /history is missing or damaged");
    if (version != FS_MODEL_VERSION_LONG)
        clear_history(model);
    for (int i = 0; i < model->config.count; i++) /* a damaged string need not end */
        model->config.entry[i].key[FS_CONFIG_KEY_BYTES - 1] = model->config.entry[i].value[FS_CONFIG_VALUE_BYTES - 1] = 0;
    for (int k = 0; k < n.labels; k++)
        model->label_name[k][FS_LABEL_NAME_BYTES - 1] = 0;
    read_kinds(file, model);
    status = fs_label_numbers_read(file, n.labels, model);
    if (!status)
        status = fs_each_array(&model->net, read_array, &file);
    if (!status)
        status = fs_masks_read(file, &model->net);
    if (!status)
        status = read_last(file, model);
    if (status)
        return status;
    if (version != fs_model_version(model))
        return fs_fail(FS_MISMATCH, "damaged: format version %d with the contents of %d", version, fs_model_version(model));
    if (!history_is_sound(file, model))
        return fs_fail(FS_MISMATCH, "damaged: /history differs from its CRC");
    uint32_t crc = fs_model_sum(model);
    return crc == n.crc ? FS_OK : fs_fail(FS_MISMATCH, "damaged: its CRC is %08x, recorded is %08x", crc, n.crc);
}

/* -1 where it is none of ours. */
static hid_t open_whole(const char *path)
{
    return fs_superblock_fits(path) ? H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT) : -1;
}

int fs_model_is(const char *path)
{
    struct numbers n = {0};
    char arch[sizeof((fs_network *)0)->arch + 1] = "";
    int32_t version;
    set_up_hdf5();
    hid_t file = open_whole(path);
    int is = file >= 0 && read_header(file, &n, &version, arch, sizeof((fs_network *)0)->arch) == FS_OK;
    if (file >= 0)
        H5Fclose(file);
    return is;
}

static fs_status check_values(const char *path, const fs_model *model)
{
    fs_status status = fs_scaling_check(&model->scaling, model->net.channels);
    if (status)
        return fs_fail(status, "%s: /scaling: %s", path, fs_message());
    status = fs_network_check(&model->net, path);
    if (!status)
        status = fs_check_last(&model->net, &model->last, path);
    return status ? status : fs_network_check_masks(&model->net, path);
}

fs_status fs_model_load(const char *path, fs_model *model)
{
    *model = (fs_model){0};
    set_up_hdf5();
    if (access(path, R_OK) != 0)
        return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    errno = 0;
    hid_t file = open_whole(path);
    if (file < 0)
        return fs_unless_unread(path, fs_fail(FS_MISMATCH,
                                              "%s: not an HDF5 file, or truncated, or not of the format 1.8 that "
                                              "model files have",
                                              path));
    fs_status status = fs_hdf5_contained(file);
    if (!status)
        status = read_all(file, model);
    H5Fclose(file);
    if (status)
        status = fs_unless_unread(path, fs_fail(status, "%s: %s", path, fs_message()));
    else
        status = check_values(path, model);
    if (status)
        fs_model_free(model);
    return status;
}

void fs_model_free(fs_model *model)
{
    fs_model_drop_last(model);
    fs_network_free(&model->net);
    free(model->label_name);
    free(model->label_number);
    free(model->history);
    *model = (fs_model){0};
}
