/* Data sets as people have them on disk. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "small_sets.h"

/* A whole set, its files' names made by `format` of the split (train, or what `test` is) and "images", 3, or "labels", 1. */
static void write_named(writer *write, const char *format, const char *test, int rows)
{
    char name[4][128];
    for (int i = 0; i < 4; i++) {
        const char *what = i % 2 ? "labels" : "images";
        int axes = i % 2 ? 1 : 3;
        snprintf(name[i], sizeof name[i], format, i < 2 ? "train" : test, what, axes, i < 2 ? "train" : test, what, axes);
    }
    write_images(write, name[0], 12, rows, 4);
    write_labels(write, name[1], 12, 4);
    write_images(write, name[2], 5, rows, 4);
    write_labels(write, name[3], 5, 3);
}

/* Both splits at folder/place have images of so many rows. */
static void opens_at(const char *place, int rows)
{
    fs_dataset data;
    char spec[256];
    snprintf(spec, sizeof spec, "idx:%s%s", folder, place);
    for (int split = FS_TRAIN; split <= FS_TEST; split++) {
        if (fs_dataset_open(spec, split, 0, &data) != FS_OK)
            fail_msg("%s: %s", spec, fs_message());
        assert_shape(&data, split == FS_TRAIN ? 12 : 5, rows, 4, 1, 4);
        fs_dataset_close(&data);
    }
}

static void fails_at(const char *format, const char *place, const char *part, const char *other)
{
    fs_dataset data;
    char spec[256];
    snprintf(spec, sizeof spec, "%s:%s%s", format, folder, place);
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_ERROR);
    message_has(part);
    message_has(other);
    assert_zeroed(&data);
}

static void idx_files_are_found_by_all_their_common_names(void **state)
{
    static const struct {
        const char *format, *test;
        int packed;
    } form[] = {
        {"%s-%s-idx%d-ubyte", "test", 0},
        {"%s-%s-idx%d-ubyte.gz", "test", 1},
        {"%s-%s.idx%d-ubyte", "t10k", 0},
        {"%s_%s_idx%d_ubyte.gz", "t10k", 1},
        {"emnist-letters-%s-%s-idx%d-ubyte.gz", "test", 1},
        {"EMNIST-Letters-%s-%s-IDX%d-ubyte", "test", 0},
        {"kmnist.%s.%s.idx%d", "t10k", 0},
        {"%s-%s", "test", 0},
    };
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        write_named(form[i].packed ? write_gz : write_file, form[i].format, form[i].test, 5);
        opens_at("", 5);
        remove_folder(state);
        mkdir(folder, 0700);
    }
    write_file("TRAIN-IMAGES-IDX3-UBYTE.GZ", "x", 1); /* a name in capitals is one, too */
    fails_at("idx", "", at("train-labels-idx1-ubyte"), "no such file");
    write_labels(write_gz, "TRAIN-LABELS-IDX1-UBYTE.GZ", 12, 4);
    write_images(write_gz, "TRAIN-IMAGES-IDX3-UBYTE.GZ", 12, 3, 3);
    fs_dataset data;
    assert_opens("idx", FS_TRAIN, 0, &data);
    fs_dataset_close(&data);
}

static void other_files_beside_them_are_none(void **state)
{
    (void)state;
    static const char *const other[] = {
        "train-images-idx3-ubyte.bak", "train-images-idx3-ubyte.gz.part", "train-images.txt", "README-train-images", "train",
        "train-labels-idx1-ubyte-x"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (i != 3) /* that would be a set of its own */
            write_text(other[i], "x");
    write_named(write_file, "%s-%s-idx%d-ubyte", "t10k", 6);
    opens_at("", 6);
}

/* MNIST's own names come before others, plain files before packed ones. */
static void of_several_files_the_best_is_taken(void **state)
{
    (void)state;
    write_named(write_file, "%s_%s", "test", 3);
    opens_at("", 3);
    write_named(write_file, "%s-%s.idx%d-ubyte", "t10k", 4);
    opens_at("", 4);
    write_named(write_gz, "%s-%s-idx%d-ubyte.gz", "t10k", 5);
    opens_at("", 5);
    write_named(write_file, "%s-%s-idx%d-ubyte", "t10k", 6);
    opens_at("", 6);
    write_named(write_file, "%s-%s-IDX%d-UBYTE", "t10k", 8); /* by the alphabet these would be first */
    write_named(write_file, "%s %s idx%d-ubyte", "t10k", 9);
    write_labels(write_file, "train-labels-idx1-int", 12, 7);
    opens_at("", 6);
    write_named(write_file, "other-%s-%s-idx%d-ubyte", "test", 7);
    opens_at("", 6); /* files without a set's name */
    opens_at("/other", 7);
}

static void each_file_may_be_in_a_folder_of_its_name(void **state)
{
    (void)state;
    static const char *const name[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                       "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 4; i++)
        mkdir(at(name[i]), 0700);
    fails_at("idx", "", at(name[1]), "is a folder where a file is expected");
    write_named(write_file, "%s-%s-idx%d-ubyte/%s-%s-idx%d-ubyte", "t10k", 5);
    opens_at("", 5);
}

static void one_of_several_sets_in_a_folder_is_named(void **state)
{
    (void)state;
    write_named(write_gz, "emnist-letters-%s-%s-idx%d-ubyte.gz", "test", 5);
    opens_at("", 5);
    write_named(write_gz, "emnist-digits-%s-%s-idx%d-ubyte.gz", "test", 6);
    fails_at("idx", "", "has several sets (emnist-digits, emnist-letters): name one, as", "/emnist-digits");
    opens_at("/emnist-letters", 5);
    opens_at("/EMNIST-Digits", 6);
    fails_at("idx", "/emnist-balanced", "emnist-balanced: neither a folder nor one of the sets in ",
             ": emnist-digits, emnist-letters");
}

static void the_files_may_be_below_the_folder(void **state)
{
    (void)state;
    char spec[256];
    fs_dataset data;
    mkdir(at("FashionMNIST"), 0700);
    mkdir(at("FashionMNIST/raw"), 0700);
    write_named(write_file, "FashionMNIST/raw/%s-%s-idx%d-ubyte", "t10k", 5);
    opens_at("", 5);
    opens_at("/FashionMNIST/", 5);
    mkdir(at("gzip"), 0700);
    write_named(write_file, "gzip/emnist-letters-%s-%s-idx%d-ubyte", "test", 6);
    fails_at("idx", "", "several folders have such files: ", "/gzip");
    opens_at("/gzip/emnist-letters", 6);
    mkdir(at("cifar-10-batches-bin"), 0700);
    fails_at("cifar10", "", "data_batch_1.bin: No such file", NULL);
    for (int i = 1; i <= 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin", i);
        write_cifar(name, 1, 10, 0, 2);
    }
    snprintf(spec, sizeof spec, "cifar10:%s", folder);
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_OK);
    assert_int_equal(data.images, 10);
    fs_dataset_close(&data);
    fails_at("cifar100", "/cifar-10-batches-bin", "has files of another kind: is it cifar10:", NULL);
}

static void what_cannot_be_read_says_what_to_do(void **state)
{
    (void)state;
    write_text("cifar-10-binary.tar.gz", "x");
    fails_at("cifar10", "", "is an archive: unpack it (tar -xzf ", "/cifar-10-binary.tar.gz) and name the folder");
    fails_at("cifar10", "/cifar-10-binary.tar.gz", "is an archive: unpack it (tar -xzf ", NULL);
    unlink(at("cifar-10-binary.tar.gz"));
    write_text("cifar-100-python.tar.gz", "x");
    fails_at("cifar100", "", "is the Python version: python3 analysis/convert_cifar.py ",
             "/cifar-100-python.tar.gz --out FOLDER");
    unlink(at("cifar-100-python.tar.gz"));
    mkdir(at("cifar-10-batches-py"), 0700);
    fails_at("cifar10", "", "cifar-10-batches-py: is the Python version", NULL);
    fails_at("cifar10", "/cifar-10-batches-py", "cifar-10-batches-py: is the Python version", NULL);
    rmdir(at("cifar-10-batches-py"));
    write_text("gzip.ZIP", "x");
    fails_at("idx", "", "is an archive: unpack it (unzip ", NULL);
    unlink(at("gzip.ZIP"));
    write_named(write_file, "%s-%s-idx%d-ubyte", "t10k", 5);
    fails_at("idx", "/train-images-idx3-ubyte", "is not a folder: name the one that has the files", NULL);
    fails_at("cifar10", "", "has files of another kind: is it idx:", NULL);
}

/* ---- Headers first ---- */

/* The .gz of a file of labels that says it has `count`, of which it has 2^20, all 0: a few KiB. */
static void write_bomb(const char *name, uint32_t count)
{
    enum { ZEROS = 1 << 20 };
    uint8_t *bytes = calloc(8 + ZEROS, 1);
    put_number(bytes, 0x801);
    put_number(bytes + 4, count);
    write_gz(name, bytes, 8 + ZEROS);
    free(bytes);
}

static void headers_that_differ_are_found_before_anything_is_unpacked(void **state)
{
    (void)state;
    write_idx(write_file, "", 3, 3);
    unlink(at("train-labels-idx1-ubyte"));
    write_bomb("train-labels-idx1-ubyte.gz", 1 << 20);
    resize("train-labels-idx1-ubyte.gz", -8); /* unpacking would fail here */
    refused("idx", FS_TRAIN, 0, "12 images, but 1048576 labels in ", "train-labels-idx1-ubyte.gz");
    refused("idx", FS_TEST, 0, "12 images, but 1048576 labels in ", "train-labels-idx1-ubyte.gz");
    write_bomb("train-labels-idx1-ubyte.gz", 1 << 30);
    refused("idx", FS_TRAIN, 0, "cannot unpack to the 1073741832 of its header", NULL);
}

/* As bgzip and cat make them: a file of several members is their data, one behind the other. */
static void a_gz_file_may_have_several_members(void **state)
{
    (void)state;
    fs_dataset data;
    uint8_t bytes[8 + 12] = {0};
    put_number(bytes, 0x801);
    put_number(bytes + 4, 12);
    for (int i = 0; i < 12; i++)
        bytes[8 + i] = (uint8_t)(i % 4);
    write_idx(write_file, "", 3, 3);
    unlink(at("train-labels-idx1-ubyte"));
    gzFile file = gzopen(at("train-labels-idx1-ubyte.gz"), "wb");
    gzwrite(file, bytes, 10);
    gzclose(file);
    file = gzopen(at("train-labels-idx1-ubyte.gz"), "ab");
    gzwrite(file, bytes + 10, 10);
    gzclose(file);
    assert_opens("idx", FS_TRAIN, 0, &data);
    assert_int_equal(data.label[11], 3);
    fs_dataset_close(&data);
    resize("train-labels-idx1-ubyte.gz", 100); /* padding, as gunzip ignores it */
    assert_opens("idx", FS_TRAIN, 0, &data);
    fs_dataset_close(&data);
    resize("train-labels-idx1-ubyte.gz", -109);
    refused("idx", FS_TRAIN, 0, at("train-labels-idx1-ubyte.gz"), "unexpected end of file");
}

/* Labels of eight numbers, of which the first is the class. */
static void labels_of_qmnist_are_its_first_column(void **state)
{
    (void)state;
    fs_dataset data;
    uint8_t bytes[12 + 12 * 8 * 4];
    memset(bytes, 9, sizeof bytes);
    put_number(bytes, 0xc02);
    put_number(bytes + 4, 12);
    put_number(bytes + 8, 8);
    for (int i = 0; i < 12; i++)
        put_number(bytes + 12 + i * 32, (uint32_t)(i % 10));
    write_images(write_gz, "qmnist-train-images-idx3-ubyte.gz", 12, 4, 4);
    write_gz("qmnist-train-labels-idx2-int.gz", bytes, sizeof bytes);
    assert_opens("idx", FS_TRAIN, 0, &data);
    assert_shape(&data, 12, 4, 4, 1, 10);
    for (int i = 0; i < 12; i++)
        assert_int_equal(data.label[i], i % 10);
    fs_dataset_close(&data);
}

/* A model knows its K; then the test images are enough. */
static void the_test_split_stands_alone_where_k_is_known(void **state)
{
    (void)state;
    fs_dataset data;
    char spec[128];
    fs_data_request request = {.split = FS_TEST, .labels = 7};
    snprintf(spec, sizeof spec, "idx:%s", folder);
    write_idx(write_file, "", 3, 3);
    assert_int_equal(fs_dataset_open_as(spec, &request, &data), FS_OK);
    assert_int_equal(data.labels, 4); /* the set's own */
    fs_dataset_close(&data);
    unlink(at("train-images-idx3-ubyte"));
    unlink(at("train-labels-idx1-ubyte"));
    assert_int_equal(fs_dataset_open_as(spec, &request, &data), FS_OK);
    assert_shape(&data, 5, 3, 3, 1, 7);
    fs_dataset_close(&data);
    request.labels = 2;
    assert_int_equal(fs_dataset_open_as(spec, &request, &data), FS_ERROR);
    message_has("label 2 in record 2: this set has 2 labels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(idx_files_are_found_by_all_their_common_names),
        in_folder(other_files_beside_them_are_none),
        in_folder(of_several_files_the_best_is_taken),
        in_folder(each_file_may_be_in_a_folder_of_its_name),
        in_folder(one_of_several_sets_in_a_folder_is_named),
        in_folder(the_files_may_be_below_the_folder),
        in_folder(what_cannot_be_read_says_what_to_do),
        in_folder(headers_that_differ_are_found_before_anything_is_unpacked),
        in_folder(a_gz_file_may_have_several_members),
        in_folder(labels_of_qmnist_are_its_first_column),
        in_folder(the_test_split_stands_alone_where_k_is_known),
    };
    return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
