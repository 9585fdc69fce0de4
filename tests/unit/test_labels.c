/* Names of labels, and which labels are used. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "small_sets.h"

/* ---- Names ---- */

#define TEN_NAMES "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n"

static void labels_are_named_by_the_file_beside_the_batches(void **state)
{
    (void)state;
    fs_dataset data;
    static const char last[FS_LABEL_NAME_BYTES] = "truck";
    write_cifar10();
    write_text("batches.meta.txt", TEN_NAMES "\n"); /* the official file ends in a blank line */
    for (int split = FS_TRAIN; split <= FS_TEST; split++) {
        assert_opens("cifar10", split, 0, &data);
        assert_string_equal(data.label_name[0], "airplane");
        assert_memory_equal(data.label_name[9], last, sizeof last);
        fs_dataset_close(&data);
    }
    write_text("batches.meta.txt", "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nthe tenth");
    assert_opens("cifar10", FS_TRAIN, 0, &data);
    assert_string_equal(data.label_name[0], "a");
    assert_string_equal(data.label_name[9], "the tenth");
    fs_dataset_close(&data);
}

static void labels_without_a_name_are_their_number(void **state)
{
    (void)state;
    fs_dataset data;
    static const char last[FS_LABEL_NAME_BYTES] = "99";
    write_cifar("test.bin", 2, 100, 0, 1);
    assert_opens("cifar100", FS_TEST, 0, &data);
    assert_string_equal(data.label_name[0], "0");
    assert_memory_equal(data.label_name[99], last, sizeof last);
    fs_dataset_close(&data);
    write_idx(write_file, "", 3, 3);
    assert_opens("idx", FS_TEST, 0, &data);
    assert_string_equal(data.label_name[3], "3");
    fs_dataset_close(&data);
}

static void a_name_shorter_than_the_number_replaces_all_of_it(void **state)
{
    (void)state;
    fs_dataset data;
    static const char last[FS_LABEL_NAME_BYTES] = "x";
    char names[201] = "";
    for (int i = 0; i < 100; i++)
        strcat(names, "x\n");
    write_cifar("test.bin", 2, 100, 0, 1);
    write_text("fine_label_names.txt", names);
    assert_opens("cifar100", FS_TEST, 0, &data);
    assert_memory_equal(data.label_name[99], last, sizeof last);
    fs_dataset_close(&data);
}

static void a_long_name_is_cut_at_a_whole_character(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar10();
    write_text("batches.meta.txt", "1234567890123456789012345678901\n"           /* 31 bytes fit */
                                   "12345678901234567890123456789012\n"          /* 32 do not */
                                   "123456789012345678901234567890\xc3\xa4\n"    /* bytes 31 and 32 are one letter */
                                   "12345678901234567890123456789\xc3\xa4z\n"    /* bytes 30 and 31 are one letter */
                                   "12345678901234567890123456789\xe2\x82\xac\n" /* bytes 30 to 32 are one sign */
                                   "f\ng\nh\ni\nj\n");
    assert_opens("cifar10", FS_TRAIN, 0, &data);
    assert_string_equal(data.label_name[0], "1234567890123456789012345678901");
    assert_string_equal(data.label_name[1], "1234567890123456789012345678901");
    assert_string_equal(data.label_name[2], "123456789012345678901234567890");
    assert_string_equal(data.label_name[3], "12345678901234567890123456789\xc3\xa4");
    assert_string_equal(data.label_name[4], "12345678901234567890123456789");
    fs_dataset_close(&data);
}

static void names_that_do_not_match_the_labels_are_refused(void **state)
{
    (void)state;
    const char *name = "batches.meta.txt";
    write_cifar10();
    write_text(name, "airplane\nautomobile\nbird\n\n");
    refused("cifar10", FS_TRAIN, 0, at(name), ": 3 names: this set has 10 labels");
    write_text(name, TEN_NAMES "submarine\n");
    refused("cifar10", FS_TRAIN, 0, at(name), ": 11 names: this set has 10 labels");
    write_text(name, "");
    refused("cifar10", FS_TRAIN, 0, at(name), "empty");
    unlink(at(name));
    mkdir(at(name), 0700);
    refused("cifar10", FS_TRAIN, 0, at(name), "is a folder");
    write_cifar("test.bin", 2, 100, 0, 1);
    write_text("fine_label_names.txt", TEN_NAMES);
    refused("cifar100", FS_TEST, 0, at("fine_label_names.txt"), ": 10 names: this set has 100 labels");
}

/* A name in another encoding would be refused by Python when it reads the results; a control character acts in a terminal. */
static void a_name_that_no_table_can_show_is_refused_with_label_and_byte(void **state)
{
    (void)state;
    static const struct {
        const char *name, *part;
    } bad[] = {
        {"K\xe4"
         "fer",
         "the name of label 3, 'K\\xe4fer': byte 2 is 0xe4: not UTF-8 (Latin-1? iconv -f LATIN1 -t UTF-8)"},
        {"\xc3", "byte 1 is 0xc3: not UTF-8"},      /* cut off */
        {"a\xc0\xaf", "byte 2 is 0xc0: not UTF-8"}, /* longer than it need be */
        {"\xe0\x80\xaf", "byte 1 is 0xe0"},         /* likewise */
        {"ab\xed\xa0\x80", "byte 3 is 0xed"},       /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", "byte 1 is 0xf4"},     /* above 10ffff */
        {"\xff", "byte 1 is 0xff"},                 /* never */
        {"red\x1b[31m", "'red\\x1b[31m': byte 4 begins the control character U+001B"},
        {"a\tb", "byte 2 begins the control character U+0009"},
        {"del\x7f", "U+007F"},
        {"\xc2\x85", "U+0085"},                                          /* next line */
        {"a\xe2\x80\xa8", "byte 2 begins the control character U+2028"}, /* line separator */
        {"\xe2\x80\xaegpj", "U+202E"},                                   /* right to left */
        {"\xef\xbb\xbfx", "U+FEFF"},                                     /* a byte order mark amid the file */
    };
    const char *name = "batches.meta.txt";
    write_cifar10();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[128];
        snprintf(text, sizeof text, "a\nb\nc\n%s\ne\nf\ng\nh\ni\nj\n", bad[i].name);
        write_text(name, text);
        refused("cifar10", FS_TEST, 0, at(name), bad[i].part);
        message_has("the name of label 3, '");
    }
    write_file(name, "a\nb\0\nc\nd\ne\nf\ng\nh\ni\nj\n", 21);
    refused("cifar10", FS_TEST, 0, "the name of label 1, 'b\\x00': byte 2", "U+0000");
}

static void byte_order_marks_are_left_out_or_say_what_to_do(void **state)
{
    (void)state;
    fs_dataset data;
    const char *name = "batches.meta.txt";
    write_cifar10();
    write_text(name, "\xef\xbb\xbf" TEN_NAMES);
    assert_opens("cifar10", FS_TEST, 0, &data);
    assert_string_equal(data.label_name[0], "airplane");
    fs_dataset_close(&data);
    write_file(name,
               "\xff\xfe"
               "a\0\n\0",
               6);
    refused("cifar10", FS_TEST, 0, at(name), "its byte order mark says UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
    write_file(name, "\xfe\xff\0a\0\n", 6);
    refused("cifar10", FS_TEST, 0, at(name), "UTF-16");
    write_file(name,
               "\xff\xfe\0\0"
               "a\0\0\0",
               8);
    refused("cifar10", FS_TEST, 0, at(name), "UTF-32");
    write_text(name, "\xef\xbb\xbf\n \n");
    refused("cifar10", FS_TEST, 0, at(name), "has no name");
}

static void lines_end_in_any_way_and_blanks_around_names_do_not_count(void **state)
{
    (void)state;
    char(*name)[FS_LABEL_NAME_BYTES];
    int count;
    static const char *const text[] = {"a b\nK\xc3\xa4"
                                       "fer\n",
                                       "a b\r\nK\xc3\xa4"
                                       "fer",
                                       "a b\rK\xc3\xa4"
                                       "fer\r",
                                       "\n\n  a b\t\n \t\n K\xc3\xa4"
                                       "fer  \r\n\r\n"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        write_text("names", text[i]);
        assert_int_equal(fs_label_names_read(at("names"), &name, &count), FS_OK);
        assert_int_equal(count, 2);
        assert_string_equal(name[0], "a b");
        assert_string_equal(name[1], "K\xc3\xa4"
                                     "fer");
        free(name);
    }
}

static void a_file_of_names_that_cannot_be_one_is_refused(void **state)
{
    (void)state;
    char(*name)[FS_LABEL_NAME_BYTES];
    int count;
    mkfifo(at("pipe"), 0600);
    assert_int_equal(fs_label_names_read(at("pipe"), &name, &count), FS_ERROR);
    message_has("pipe: is not a regular file");
    write_text("large", "x");
    resize("large", 1 << 24);
    assert_int_equal(fs_label_names_read(at("large"), &name, &count), FS_ERROR);
    message_has("large: 16777217 bytes: a file of label names has at most 16777216");
    assert_int_equal(fs_label_names_read(at("none"), &name, &count), FS_ERROR);
    message_has("none: No such file");
    assert_null(name);
}

static void labels_with_the_same_name_are_found(void **state)
{
    (void)state;
    static const char name[][FS_LABEL_NAME_BYTES] = {"crane", "maillot", "bird", "maillot", "crane", "crane"};
    int first, second;
    assert_int_equal(fs_label_names_alike(6, name, &first, &second), FS_OK);
    assert_int_equal(first, 0);
    assert_int_equal(second, 4);
    assert_int_equal(fs_label_names_alike(3, name, &first, &second), FS_OK);
    assert_int_equal(first, -1);
}

/* ---- Which labels are used ---- */

/* Both splits of a set whose training labels are 1..3 and 5, whose test labels 1..3 and 4. */
static void open_gaps(fs_dataset *train, fs_dataset *test)
{
    static const uint8_t of_train[12] = {1, 2, 3, 5, 1, 2, 3, 5, 1, 2, 3, 5}, of_test[5] = {4, 3, 2, 1, 4};
    uint8_t bytes[8 + 12];
    write_idx(write_file, "", 3, 3);
    put_number(bytes, 0x801);
    put_number(bytes + 4, 12);
    memcpy(bytes + 8, of_train, 12);
    write_file("train-labels-idx1-ubyte", bytes, 20);
    put_number(bytes + 4, 5);
    memcpy(bytes + 8, of_test, 5);
    write_file("t10k-labels-idx1-ubyte", bytes, 13);
    assert_opens("idx", FS_TRAIN, 0, train);
    assert_opens("idx", FS_TEST, 0, test);
}

static void labels_without_a_training_or_a_test_image_are_left_out(void **state)
{
    (void)state;
    fs_dataset train, test;
    int32_t *number;
    int labels;
    open_gaps(&train, &test);
    assert_shape(&train, 12, 3, 3, 1, 6);
    uint32_t whole = train.crc;
    assert_int_equal(fs_dataset_used_labels(&train, &test, &number, &labels), FS_OK);
    assert_int_equal(labels, 3);
    static const int32_t expected[] = {1, 2, 3};
    assert_memory_equal(number, expected, sizeof expected);
    assert_int_equal(fs_dataset_keep_labels(&train, labels, number), FS_OK);
    assert_int_equal(fs_dataset_keep_labels(&test, labels, number), FS_OK);
    free(number);
    assert_shape(&train, 9, 3, 3, 1, 3);
    assert_int_equal(train.set_labels, 6);
    assert_memory_equal(train.number, expected, sizeof expected);
    assert_string_equal(train.label_name[0], "1"); /* the set's own names stay */
    assert_int_not_equal(train.crc, whole);
    static const uint16_t kept[] = {0, 1, 2, 0, 1, 2, 0, 1, 2}, tested[] = {2, 1, 0};
    assert_memory_equal(train.label, kept, sizeof kept);
    assert_memory_equal(test.label, tested, sizeof tested);
    for (int i = 0; i < 9; i++) /* images 3, 7 and 11 of the pattern are gone */
        assert_pattern(&train, i, i + i / 3, 0);
    for (int i = 0; i < 3; i++)
        assert_pattern(&test, i, i + 1, 0);
    fs_dataset_close(&train);
    fs_dataset_close(&test);
}

static void names_are_given_to_the_labels_that_are_used_or_to_all(void **state)
{
    (void)state;
    fs_dataset train, test;
    static const int32_t number[] = {1, 3};
    static const char all[][FS_LABEL_NAME_BYTES] = {"a", "b", "c", "d", "e", "f"}, two[][FS_LABEL_NAME_BYTES] = {"x", "y"};
    open_gaps(&train, &test);
    assert_int_equal(fs_dataset_keep_labels(&train, 2, number), FS_OK);
    assert_int_equal(fs_dataset_set_names(&train, "names", 6, all), FS_OK);
    assert_string_equal(train.label_name[1], "d");
    assert_int_equal(fs_dataset_set_names(&train, "names", 2, two), FS_OK);
    assert_string_equal(train.label_name[1], "y");
    assert_int_equal(fs_dataset_set_names(&train, "names", 3, all), FS_ERROR);
    message_has("names: 3 names: this set has 2 labels");
    fs_dataset_close(&train);
    fs_dataset_close(&test);
}

static void labels_that_a_set_does_not_have_cannot_be_used(void **state)
{
    (void)state;
    fs_dataset train, test;
    static const int32_t beyond[] = {1, 6}, none[] = {0, 4};
    open_gaps(&train, &test);
    assert_int_equal(fs_dataset_keep_labels(&train, 2, beyond), FS_MISMATCH);
    message_has("label 6 is used, but this set has 6 labels");
    assert_int_equal(fs_dataset_keep_labels(&train, 2, none), FS_ERROR);
    message_has("no image has one of the 2 labels");
    fs_dataset_close(&train);
    fs_dataset_close(&test);
}

/* ---- Images held back ---- */

/* 20 images of label 0, 10 of label 1, alternately as far as they go; the first pixel is the image's number. */
static fs_dataset make_labelled(void)
{
    static char name[2][FS_LABEL_NAME_BYTES] = {"a", "b"};
    fs_dataset data = {.images = 30, .height = 1, .width = 2, .channels = 1, .labels = 2};
    data.pixels = calloc(30, 2);
    data.label = calloc(30, sizeof *data.label);
    data.label_name = calloc(2, sizeof *data.label_name);
    memcpy(data.label_name, name, sizeof name);
    for (int i = 0; i < 30; i++) {
        data.pixels[2 * i] = (uint8_t)i;
        data.label[i] = i % 3 == 1;
    }
    return data;
}

static void a_share_of_each_label_is_held_back_whatever_comes(void **state)
{
    (void)state;
    fs_dataset data = make_labelled(), again = make_labelled(), held, held_again;
    int seen[30] = {0}, of_label[2] = {0};
    assert_int_equal(fs_dataset_hold_back(&data, 0.2, &held), FS_OK);
    assert_int_equal(fs_dataset_hold_back(&again, 0.2, &held_again), FS_OK);
    assert_int_equal(data.images, 24);
    assert_int_equal(held.images, 6);
    assert_memory_equal(held.pixels, held_again.pixels, 12);
    for (int i = 0; i < 6; i++)
        of_label[held.label[i]]++;
    assert_int_equal(of_label[0], 4);
    assert_int_equal(of_label[1], 2);
    for (int i = 0; i < 30; i++) {
        const fs_dataset *part = i < 24 ? &data : &held;
        int place = i < 24 ? i : i - 24, image = part->pixels[2 * place];
        seen[image]++;
        assert_int_equal(part->label[place], image % 3 == 1);
        assert_true(place == 0 || part->pixels[2 * (place - 1)] < image); /* in their order */
    }
    for (int i = 0; i < 30; i++)
        assert_int_equal(seen[i], 1);
    assert_int_not_equal(data.crc, held.crc);
    fs_dataset_close(&data);
    fs_dataset_close(&again);
    fs_dataset_close(&held);
    fs_dataset_close(&held_again);
}

static void a_share_that_takes_all_or_nothing_is_refused(void **state)
{
    (void)state;
    fs_dataset data = make_labelled(), held;
    assert_int_equal(fs_dataset_hold_back(&data, 0.96, &held), FS_USAGE);
    message_has("a share of 0.96 holds back all of the 10 training images of label 1 (b)");
    assert_int_equal(fs_dataset_hold_back(&data, 0.01, &held), FS_USAGE);
    message_has("a share of 0.01 holds back none of the 30 training images");
    assert_int_equal(data.images, 30);
    fs_dataset_close(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(labels_are_named_by_the_file_beside_the_batches),
        in_folder(labels_without_a_name_are_their_number),
        in_folder(a_name_shorter_than_the_number_replaces_all_of_it),
        in_folder(a_long_name_is_cut_at_a_whole_character),
        in_folder(names_that_do_not_match_the_labels_are_refused),
        in_folder(a_name_that_no_table_can_show_is_refused_with_label_and_byte),
        in_folder(byte_order_marks_are_left_out_or_say_what_to_do),
        in_folder(lines_end_in_any_way_and_blanks_around_names_do_not_count),
        in_folder(a_file_of_names_that_cannot_be_one_is_refused),
        in_folder(labels_with_the_same_name_are_found),
        in_folder(labels_without_a_training_or_a_test_image_are_left_out),
        in_folder(names_are_given_to_the_labels_that_are_used_or_to_all),
        in_folder(labels_that_a_set_does_not_have_cannot_be_used),
        cmocka_unit_test(a_share_of_each_label_is_held_back_whatever_comes),
        cmocka_unit_test(a_share_that_takes_all_or_nothing_is_refused),
    };
    return cmocka_run_group_tests_name("labels", tests, NULL, NULL);
}
