/* What a command writes: where its name leads, and whether it still does. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "filterscope/target.h"

static char folder[64], real[FS_PATH_BYTES];

static int enter(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/filterscope-target-XXXXXX");
    return mkdtemp(folder) && realpath(folder, real) && chdir(folder) == 0 && mkdir("deep", 0700) == 0 ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    static const char *const names[] = {"deep/new", "link", "old", "other", "twice", "loop", "deep"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove(names[i]);
    return rmdir(folder); /* fails where something was left behind */
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_leads(const char *name, const char *end)
{
    char path[FS_PATH_BYTES], wanted[FS_PATH_BYTES];
    assert_int_equal(fs_path_resolve(name, path), FS_OK);
    assert_true(snprintf(wanted, sizeof wanted, "%.64s/%s", real, end) < FS_PATH_BYTES);
    assert_string_equal(path, wanted);
}

static void all_names_lead_to_one_path(void **state)
{
    (void)state;
    char whole[FS_PATH_BYTES];
    snprintf(whole, sizeof whole, "%s//./deep/new", folder);
    assert_int_equal(symlink("deep/new", "link"), 0); /* which is not there yet */
    assert_int_equal(symlink("../link", "deep/again"), 0);
    static const char *const names[] = {"deep/new", "./deep/../deep//new", "link", "deep/again", "/proc/self/cwd/deep/new"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_leads(names[i], "deep/new");
    assert_leads(whole, "deep/new");
    unlink("deep/again");
}

static void what_leads_nowhere_is_named(void **state)
{
    (void)state;
    char path[FS_PATH_BYTES], longest[2 * FS_PATH_BYTES];
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(fs_path_resolve("loop", path), FS_ERROR);
    assert_int_equal(fs_path_resolve("gone/new", path), FS_ERROR);
    assert_non_null(strstr(fs_message(), "gone/new"));
    assert_int_equal(fs_path_resolve("deep/", path), FS_MISMATCH);
    assert_int_equal(fs_path_resolve("..", path), FS_MISMATCH);
    assert_int_equal(fs_path_resolve("", path), FS_MISMATCH);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(fs_path_resolve(longest, path), FS_ERROR);
}

static void a_name_leaves_room_for_that_of_its_lock(void **state)
{
    (void)state;
    fs_target target;
    char name[256];
    memset(name, 'n', sizeof name);
    name[235] = 0;
    assert_int_equal(fs_target_find(name, &target), FS_OK);
    name[235] = 'n';
    name[236] = 0;
    assert_int_equal(fs_target_find(name, &target), FS_ERROR);
    assert_non_null(strstr(fs_message(), "236 bytes; 235 at most"));
}

static void what_has_other_names_is_refused(void **state)
{
    (void)state;
    fs_target target;
    write_file("old", "text");
    assert_int_equal(fs_target_find("old", &target), FS_OK);
    assert_int_equal(link("old", "twice"), 0);
    assert_int_equal(fs_target_find("old", &target), FS_ERROR);
    assert_non_null(strstr(fs_message(), "2 names"));
    assert_int_equal(fs_target_find("deep", &target), FS_MISMATCH);
    assert_int_equal(fs_target_find("/dev/null", &target), FS_MISMATCH);
}

static void an_input_that_would_be_overwritten_is_refused(void **state)
{
    (void)state;
    fs_target target;
    const fs_input free[] = {{"init", NULL}, {"model", "new"}, {"model", "deep/new.tmp.h5"}, {NULL}};
    const fs_input taken[] = {{"init", NULL}, {"model", "deep/../deep/new.tmp"}, {NULL}};
    assert_int_equal(fs_target_find("deep/new", &target), FS_OK);
    assert_int_equal(fs_target_spare(&target, free), FS_OK);
    assert_int_equal(fs_target_spare(&target, taken), FS_USAGE);
    assert_non_null(strstr(fs_message(), "--model: deep/../deep/new.tmp"));
}

static void expect(const fs_target *target, const char *says)
{
    assert_int_equal(fs_target_check(target), says ? FS_MISMATCH : FS_OK);
    if (says)
        assert_non_null(strstr(fs_message(), says));
}

static void another_file_under_the_name_is_noticed(void **state)
{
    (void)state;
    fs_target target;
    assert_int_equal(symlink("old", "link"), 0);
    assert_int_equal(fs_target_find("link", &target), FS_OK);
    assert_int_equal(fs_target_hold(&target, 0), FS_OK);
    expect(&target, NULL);
    write_file("old", "text");
    expect(&target, "made by another");
    assert_int_equal(fs_target_hold(&target, 0), FS_OK);
    write_file("old", "in place, by the job itself");
    expect(&target, NULL);
    unlink("old");
    expect(&target, "removed");
    write_file("old", "with the same inode number on some file systems");
    expect(&target, "replaced");
    assert_int_equal(fs_target_hold(&target, 0), FS_OK);
    expect(&target, NULL);
    write_file("other", "text");
    assert_int_equal(unlink("link") | symlink("other", "link"), 0);
    expect(&target, "replaced");
    fs_target_drop(&target);
}

static void contents_tell_where_nobody_else_should_write(void **state)
{
    (void)state;
    fs_target target;
    const struct timespec touched[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    write_file("old", "text");
    assert_int_equal(fs_target_find("old", &target), FS_OK);
    assert_int_equal(fs_target_hold(&target, 1), FS_OK);
    assert_int_equal(utimensat(AT_FDCWD, "old", touched, 0), 0);
    expect(&target, NULL);
    write_file("old", "texT");
    expect(&target, "changed");
    assert_int_equal(fs_target_hold(&target, 1), FS_OK);
    expect(&target, NULL);
    write_file("old", "longer");
    expect(&target, "changed");
    fs_target_drop(&target);
}

static void a_file_put_in_place_is_known_by_its_descriptor(void **state)
{
    (void)state;
    fs_target target;
    write_file("old", "text");
    assert_int_equal(fs_target_find("old", &target), FS_OK);
    assert_int_equal(fs_target_hold(&target, 1), FS_OK);
    write_file("other", "new");
    int file = open("other", O_RDONLY);
    assert_int_equal(rename("other", "old"), 0);
    assert_int_equal(fs_target_take(&target, file), FS_OK);
    expect(&target, NULL);
    write_file("other", "new2");
    file = open("other", O_RDONLY);
    assert_int_equal(rename("other", "old"), 0);
    write_file("other", "another's, just after that");
    assert_int_equal(rename("other", "old"), 0);
    assert_int_equal(fs_target_take(&target, file), FS_OK);
    expect(&target, "replaced");
    unlink("old");
    expect(&target, "removed");
    fs_target_drop(&target);
}

static void only_what_a_crash_left_is_cleared(void **state)
{
    (void)state;
    write_file("old", "text");
    assert_int_equal(fs_path_clear("old"), FS_OK);
    assert_int_not_equal(access("old", F_OK), 0);
    assert_int_equal(fs_path_clear("old"), FS_OK);
    assert_int_equal(fs_path_clear("deep"), FS_ERROR);
    assert_int_equal(symlink("deep", "link"), 0);
    assert_int_equal(fs_path_clear("link"), FS_ERROR);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(all_names_lead_to_one_path),
        TEST(what_leads_nowhere_is_named),
        TEST(a_name_leaves_room_for_that_of_its_lock),
        TEST(what_has_other_names_is_refused),
        TEST(an_input_that_would_be_overwritten_is_refused),
        TEST(another_file_under_the_name_is_noticed),
        TEST(contents_tell_where_nobody_else_should_write),
        TEST(a_file_put_in_place_is_known_by_its_descriptor),
        TEST(only_what_a_crash_left_is_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
