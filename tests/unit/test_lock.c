/* The lock: exactly one writer, and a dead one does not block. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/holder.h"
#include "filterscope/lock.h"
#include "filterscope/stop.h"

static char folder[] = "/tmp/filterscope-lock-XXXXXX", path[64], lock_path[70];

static int enter(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/sweep.h5", folder);
    snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    unlink(lock_path);
    return 0;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails where something was left behind */
}

static int exists(const char *name)
{
    return access(name, F_OK) == 0;
}

/* A lock as another host's process would write it. */
static void write_foreign(const char *token, unsigned beat)
{
    FILE *file = fopen(lock_path, "w");
    assert_non_null(file);
    fprintf(file, "token %s\nhost far\nsystem another/pid:[1]\npid 77\nstarted 1\njob 1234\nbeat %010u\n", token, beat);
    fclose(file);
}

/* A lock as a process of this system would write it. */
static void write_local(const char *host, long pid, const char *started, unsigned beat)
{
    fs_holder self;
    fs_holder_describe(&self);
    FILE *file = fopen(lock_path, "w");
    assert_non_null(file);
    fprintf(file, "token 0123456789abcdef\nhost %s\nsystem %s\npid %ld\nstarted %s\njob -\nbeat %010u\n",
            host ? host : self.host, self.system, pid, started ? started : self.started, beat);
    fclose(file);
}

/* Beats in the lock that is there, from a process that never ends. */
static pid_t start_beating(void)
{
    pid_t child = fork();
    unsigned beat = 0;
    while (child == 0) {
        int file = open(lock_path, O_WRONLY); /* in place, as a holder does: a reader never finds an empty file */
        char number[16];
        int bytes = snprintf(number, sizeof number, "%010u\n", ++beat);
        lseek(file, -bytes, SEEK_END);
        if (write(file, number, (size_t)bytes) != bytes)
            _exit(1);
        close(file);
        usleep(300000);
    }
    return child;
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void a_second_writer_is_refused_at_once_and_told_who_holds_it(void **state)
{
    (void)state;
    fs_lock *first, *second;
    char pid[32], holder[256];
    double started = fs_seconds();
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    assert_int_equal(fs_lock_take(path, 30, &first), FS_OK);
    assert_int_equal(fs_lock_take(path, 30, &second), FS_ERROR);
    assert_null(second);
    assert_non_null(strstr(fs_message(), path));
    assert_non_null(strstr(fs_message(), pid));
    assert_true(fs_lock_holder(path, holder, sizeof holder));
    assert_non_null(strstr(holder, pid));
    assert_true(fs_seconds() - started < 2);
    fs_lock_release(first);
    assert_false(exists(lock_path));
    assert_false(fs_lock_holder(path, holder, sizeof holder));
    assert_int_equal(fs_lock_take(path, 30, &first), FS_OK);
    fs_lock_release(first);
}

static void the_lock_is_the_same_by_any_name_of_the_file(void **state)
{
    (void)state;
    char other[64];
    fs_lock *first, *second;
    fclose(fopen(path, "w"));
    snprintf(other, sizeof other, "%s/other.h5", folder);
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(fs_lock_take(path, 30, &first), FS_OK);
    assert_int_equal(fs_lock_take(other, 30, &second), FS_ERROR);
    fs_lock_release(first);
    unlink(other);
    unlink(path);
}

static void a_killed_writer_on_this_host_does_not_block(void **state)
{
    (void)state;
    fs_lock *lock;
    pid_t child = fork();
    if (child == 0) {
        fs_lock_take(path, 30, &lock);
        raise(SIGKILL);
    }
    siginfo_t how;
    waitid(P_PID, (id_t)child, &how, WEXITED | WNOWAIT); /* dead, but its entry in the process table is still there */
    assert_true(exists(lock_path));
    double started = fs_seconds();
    assert_int_equal(fs_lock_take(path, 30, &lock), FS_OK);
    assert_true(fs_seconds() - started < 2);
    fs_lock_release(lock);
    waitpid(child, NULL, 0);
}

static void a_silent_writer_elsewhere_is_dead_after_the_patience(void **state)
{
    (void)state;
    fs_lock *lock;
    write_foreign("0123456789abcdef", 12);
    double started = fs_seconds();
    assert_int_equal(fs_lock_take(path, 1, &lock), FS_OK);
    assert_true(fs_seconds() - started >= 1);
    fs_lock_release(lock);
}

static void a_writer_elsewhere_that_beats_is_alive(void **state)
{
    (void)state;
    fs_lock *lock;
    write_foreign("0123456789abcdef", 0);
    pid_t child = start_beating();
    assert_int_equal(fs_lock_take(path, 30, &lock), FS_ERROR);
    assert_non_null(strstr(fs_message(), "host far, job 1234, pid 77"));
    end(child);
}

static double seconds_until_taken(double patience)
{
    fs_lock *lock;
    double started = fs_seconds();
    assert_int_equal(fs_lock_take(path, patience, &lock), FS_OK);
    fs_lock_release(lock);
    return fs_seconds() - started;
}

/* A process whose beginning /proc does not tell, or that is on a machine with the same boot id, is waited for. */
static void who_cannot_be_looked_at_is_dead_only_without_a_beat(void **state)
{
    (void)state;
    fs_lock *lock;
    const struct {
        const char *host, *started;
        long pid;
    } cases[] = {{NULL, "-", 1}, {"copy-of-this-machine", NULL, 999999999}};
    for (int c = 0; c < 2; c++) {
        write_local(cases[c].host, cases[c].pid, cases[c].started, 7);
        assert_true(seconds_until_taken(1) >= 1);
        write_local(cases[c].host, cases[c].pid, cases[c].started, 7);
        pid_t child = start_beating();
        assert_int_equal(fs_lock_take(path, 30, &lock), FS_ERROR);
        assert_non_null(strstr(fs_message(), "in use"));
        end(child);
    }
}

static void who_is_certainly_dead_is_not_waited_for(void **state)
{
    (void)state;
    write_local(NULL, 999999999, NULL, 7); /* no such process */
    assert_true(seconds_until_taken(30) < 5);
    write_local(NULL, 1, "123456789012", 7); /* another process has its number */
    assert_true(seconds_until_taken(30) < 5);
}

/* When it goes on, its patience has ended, and the holder has beaten. */
static void who_was_suspended_while_waiting_looks_once_more(void **state)
{
    (void)state;
    int how;
    fs_lock *lock;
    write_foreign("0123456789abcdef", 0);
    pid_t waiting = fork();
    if (waiting == 0)
        _exit((int)fs_lock_take(path, 2, &lock));
    usleep(100000);
    kill(waiting, SIGSTOP);
    usleep(2500000);
    pid_t holder = start_beating();
    usleep(200000);
    kill(waiting, SIGCONT);
    waitpid(waiting, &how, 0);
    end(holder);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == FS_ERROR);
}

static void what_is_no_lock_is_refused_at_once_and_left(void **state)
{
    (void)state;
    fs_lock *lock;
    double started = fs_seconds();
    for (int kind = 0; kind < 4; kind++) {
        FILE *file = kind == 3 ? fopen(lock_path, "w") : NULL;
        int made = kind == 0   ? mkdir(lock_path, 0700)
                   : kind == 1 ? mkfifo(lock_path, 0600)
                   : kind == 2 ? symlink("nowhere", lock_path)
                               : fprintf(file, "somebody's notes") < 0 || fclose(file);
        assert_int_equal(made, 0);
        assert_int_equal(fs_lock_take(path, 30, &lock), FS_ERROR);
        assert_non_null(strstr(fs_message(), lock_path));
        assert_int_equal(remove(lock_path), 0);
    }
    assert_true(fs_seconds() - started < 5);
}

static void a_lock_that_may_not_be_read_is_another_s(void **state)
{
    (void)state;
    int how;
    fs_lock *lock;
    if (geteuid() != 0)
        skip();
    write_foreign("0123456789abcdef", 0);
    assert_int_equal(chmod(lock_path, 0600) | chmod(folder, 0777), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(seteuid(65534) != 0 || fs_lock_take(path, 0.5, &lock) != FS_ERROR || !strstr(fs_message(), "cannot be read"));
    waitpid(child, &how, 0);
    assert_int_equal(how, 0);
    assert_true(exists(lock_path));
    assert_int_equal(chmod(folder, 0700), 0);
}

static void waiting_ends_with_a_signal(void **state)
{
    (void)state;
    int how;
    fs_lock *lock;
    write_foreign("0123456789abcdef", 0);
    pid_t child = fork();
    if (child == 0) {
        fs_stop_install(0, 0);
        _exit((int)fs_lock_take(path, 60, &lock));
    }
    usleep(500000);
    kill(child, SIGTERM);
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == FS_STOPPED);
    assert_true(exists(lock_path));
}

static void a_process_that_a_second_signal_ends_leaves_no_lock(void **state)
{
    (void)state;
    int how;
    fs_lock *lock;
    pid_t child = fork();
    if (child == 0) {
        fs_stop_install(0, 0);
        _exit(fs_lock_take(path, 30, &lock) || raise(SIGTERM) || raise(SIGTERM) ? 1 : 2);
    }
    waitpid(child, &how, 0);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGTERM);
    assert_false(exists(lock_path));
}

static void only_the_own_lock_is_abandoned(void **state)
{
    (void)state;
    fs_lock *lock;
    assert_int_equal(fs_lock_take(path, 30, &lock), FS_OK);
    fs_lock_abandon();
    assert_false(exists(lock_path));
    write_foreign("fedcba98765432100123456789abcdef", 0);
    fs_lock_abandon();
    assert_true(exists(lock_path));
    fs_lock_release(lock);
    assert_true(exists(lock_path));
}

static void a_lock_whose_maker_died_before_a_word_is_removed(void **state)
{
    (void)state;
    fs_lock *lock;
    fclose(fopen(lock_path, "w"));
    assert_int_equal(fs_lock_take(path, 0.5, &lock), FS_OK);
    fs_lock_release(lock);
}

static void one_of_many_successors_gets_a_dead_lock(void **state)
{
    (void)state;
    enum { SUCCESSORS = 8, ROUNDS = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        int winners = 0;
        write_foreign("0123456789abcdef", 3);
        for (int i = 0; i < SUCCESSORS; i++)
            if (fork() == 0) {
                fs_lock *lock;
                if (fs_lock_take(path, 0.3, &lock))
                    _exit(1);
                usleep(800000);
                _exit(fs_lock_check(fs_lock_key_of(lock)) == FS_OK ? 0 : 2);
            }
        for (int i = 0, how; i < SUCCESSORS; i++) {
            assert_true(wait(&how) > 0 && WIFEXITED(how));
            assert_int_not_equal(WEXITSTATUS(how), 2);
            winners += WEXITSTATUS(how) == 0;
        }
        assert_int_equal(winners, 1);
    }
}

static void who_has_lost_the_lock_is_told_and_leaves_the_other_s_alone(void **state)
{
    (void)state;
    fs_lock *lock;
    assert_int_equal(fs_lock_take(path, 30, &lock), FS_OK);
    fs_lock_key key = *fs_lock_key_of(lock);
    assert_int_equal(fs_lock_check(&key), FS_OK);
    write_foreign("fedcba9876543210", 0);
    assert_int_equal(fs_lock_check(&key), FS_ERROR);
    assert_non_null(strstr(fs_message(), "host far, job 1234, pid 77"));
    fs_lock_release(lock);
    assert_true(exists(lock_path));
    unlink(lock_path);
    assert_int_equal(fs_lock_check(&key), FS_ERROR);
}

static void a_process_that_has_lost_the_lock_ends(void **state)
{
    (void)state;
    int how;
    pid_t child = fork();
    if (child == 0) {
        fs_lock *lock;
        fs_lock_take(path, 30, &lock);
        sleep(60);
        _exit(0);
    }
    while (!exists(lock_path))
        usleep(10000);
    usleep(300000);
    double started = fs_seconds();
    write_foreign("fedcba9876543210", 0);
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == FS_ERROR);
    assert_true(fs_seconds() - started < 10);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    fs_lock *lock;
    assert_int_equal(fs_lock_take("/nowhere/at/all.h5", 30, &lock), FS_ERROR);
    assert_non_null(strstr(fs_message(), "/nowhere/at/all.h5"));
    assert_null(lock);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(a_second_writer_is_refused_at_once_and_told_who_holds_it),
        TEST(the_lock_is_the_same_by_any_name_of_the_file),
        TEST(a_killed_writer_on_this_host_does_not_block),
        TEST(a_silent_writer_elsewhere_is_dead_after_the_patience),
        TEST(a_writer_elsewhere_that_beats_is_alive),
        TEST(who_cannot_be_looked_at_is_dead_only_without_a_beat),
        TEST(who_is_certainly_dead_is_not_waited_for),
        TEST(who_was_suspended_while_waiting_looks_once_more),
        TEST(what_is_no_lock_is_refused_at_once_and_left),
        TEST(a_lock_that_may_not_be_read_is_another_s),
        TEST(waiting_ends_with_a_signal),
        TEST(a_process_that_a_second_signal_ends_leaves_no_lock),
        TEST(only_the_own_lock_is_abandoned),
        TEST(a_lock_whose_maker_died_before_a_word_is_removed),
        TEST(one_of_many_successors_gets_a_dead_lock),
        TEST(who_has_lost_the_lock_is_told_and_leaves_the_other_s_alone),
        TEST(a_process_that_has_lost_the_lock_ends),
        TEST(a_folder_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
