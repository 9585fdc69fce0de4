/* Slots, agreement, sharing and the coordinator's desk, on any number of ranks: each test passes on every rank or fails on
 * some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mpi.h>
#include <sys/resource.h>

#include "filterscope/node.h"
#include "filterscope/random.h"
#include "filterscope/seats.h"
#include "filterscope/share.h"
#include "filterscope/silence.h"
#include "filterscope/slots.h"
#include "sweep/coordinator.h"

static int rank, ranks;

/* The value that slot `slot` contributes at place `i`: of very different sizes, so that any other order rounds otherwise. */
static double contribution(int slot, int i)
{
    uint32_t word[4];
    fs_random4(11, FS_RANDOM_WEIGHTS, (uint32_t)slot, (uint32_t)i, 0, word);
    return ((double)word[0] - 2147483648.0) * (word[1] % 7 ? 1e-3 : 1e9);
}

static double tree(int first, int count, int i)
{
    return count == 1 ? contribution(first, i) : tree(first, count / 2, i) + tree(first + count / 2, count / 2, i);
}

static float tree_float(int first, int count, int i)
{
    return count == 1 ? (float)contribution(first, i)
                      : tree_float(first, count / 2, i) + tree_float(first + count / 2, count / 2, i);
}

enum { PLACES = 300000 }; /* more than one message */

static void sums_are_the_binary_tree_over_slots_whatever_the_ranks(void **state)
{
    (void)state;
    double *values = malloc((64 * 5 + PLACES) * sizeof *values);
    for (int slots = 1; slots <= 64; slots *= 2) {
        fs_slots own;
        fs_slots_create(MPI_COMM_WORLD, slots, &own);
        for (int s = 0; s < own.count; s++)
            for (int i = 0; i < 5; i++)
                values[s * 5 + i] = contribution(own.first + s, i);
        fs_slots_fold(&own, values, 5);
        fs_slots_sum(&own, values, 5);
        for (int i = 0; i < 5; i++)
            assert_true(values[i] == tree(0, slots, i));
    }
    fs_slots own;
    fs_slots_create(MPI_COMM_WORLD, 8, &own);
    float *floats = malloc(PLACES * sizeof *floats);
    for (int i = 0; i < PLACES && own.count; i++)
        floats[i] = tree_float(own.first, own.count, i % 97);
    fs_slots_sum_float(&own, floats, PLACES);
    for (int i = 0; i < PLACES; i += 1009)
        assert_true(floats[i] == tree_float(0, 8, i % 97));
    for (int i = 0; i < PLACES && own.count; i++)
        floats[i] = tree_float(own.first, own.count, i % 97);
    const fs_part part = fs_slots_sum_part(&own, floats, PLACES);
    size_t counts;
    MPI_Allreduce(&part.count, &counts, 1, MPI_UNSIGNED_LONG, MPI_SUM, MPI_COMM_WORLD);
    assert_int_equal(counts, PLACES);
    for (size_t i = part.first; i < part.first + part.count; i++)
        assert_true(floats[i] == tree_float(0, 8, (int)(i % 97)));
    for (size_t i = 0; i < PLACES; i++)
        floats[i] = i >= part.first && i < part.first + part.count ? (float)i : -1;
    fs_slots_hand_on(&own, floats, PLACES);
    for (size_t i = 0; i < PLACES; i++)
        assert_true(floats[i] == (float)i);
    free(values);
    free(floats);
}

static void slots_are_dealt_out_once_and_images_too(void **state)
{
    (void)state;
    for (int slots = 1; slots <= 64; slots *= 2) {
        fs_slots own;
        int mine, all, end = 0;
        fs_slots_create(MPI_COMM_WORLD, slots, &own);
        mine = own.count;
        MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        assert_int_equal(all, slots);
        for (int slot = 0; slot < slots; slot++) {
            int first, last;
            fs_slots_range(&own, slot, 37, &first, &last);
            assert_int_equal(first, end);
            end = last;
        }
        assert_int_equal(end, 37);
        int own_begin, own_end, images;
        fs_slots_share(&own, 37, &own_begin, &own_end);
        assert_true(own_begin <= own_end && (own.count > 0 || own_begin == own_end));
        images = own_end - own_begin;
        MPI_Allreduce(MPI_IN_PLACE, &images, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        assert_int_equal(images, 37);
    }
}

static void ranks_agree_on_the_worst_status_and_its_message(void **state)
{
    (void)state;
    assert_int_equal(fs_agree(MPI_COMM_WORLD, FS_OK), FS_OK);
    int last = ranks - 1;
    fs_status mine = rank == last ? fs_fail(FS_MISMATCH, "from rank %d", rank)
                     : rank == 0  ? fs_fail(FS_STOPPED, "stop")
                                  : FS_OK;
    assert_int_equal(fs_agree(MPI_COMM_WORLD, mine), FS_MISMATCH);
    char expected[32];
    snprintf(expected, sizeof expected, "from rank %d", last);
    assert_string_equal(fs_message(), expected);
    fs_fail(FS_ERROR, "rank %d says so", rank);
    assert_int_equal(fs_agree(MPI_COMM_WORLD, FS_ERROR), FS_ERROR);
    assert_string_equal(fs_message(), "rank 0 says so");
}

/* Rank 0's data set everywhere, its pixels in memory in common or not. */
static void share_data(int together)
{
    fs_dataset data = {0};
    if (rank == 0) {
        data = (fs_dataset){.images = 3, .height = 2, .width = 5, .channels = 1, .labels = 2, .crc = 77};
        data.pixels = malloc(30);
        data.label = calloc(3, sizeof *data.label);
        data.label_name = calloc(2, sizeof *data.label_name);
        for (int i = 0; i < 30; i++)
            data.pixels[i] = (uint8_t)(7 * i);
        data.label[2] = 1;
        strcpy(data.label_name[1], "one");
        data.number = calloc(2, sizeof *data.number);
        data.number[1] = 4;
    }
    assert_int_equal(fs_share_dataset(MPI_COMM_WORLD, &data), FS_OK);
    assert_true(data.images == 3 && data.width == 5 && data.crc == 77 && data.label[2] == 1 && data.pixels[29] == 203);
    assert_string_equal(data.label_name[1], "one");
    assert_int_equal(data.number[1], 4);
    if (rank > 0)
        assert_int_equal(data.mapped > 0, together);
    if (rank == 0)
        data.pixels[3] = 100;
    MPI_Barrier(MPI_COMM_WORLD);
    assert_int_equal(data.pixels[3], together || rank == 0 ? 100 : 21);
    fs_dataset_close(&data);
    assert_null(data.pixels);
}

static void a_data_set_arrives_everywhere(void **state)
{
    (void)state;
    share_data(ranks > 1);
}

/* Each rank of the node writes its part; afterwards each sees all of it. */
static void write_and_see(fs_shared *shared, int together)
{
    assert_int_equal(shared->ranks, together ? ranks : 1);
    enum { EACH = 100000 };
    for (int i = 0; i < EACH; i++)
        shared->data[shared->rank * EACH + i] = (float)(shared->rank * EACH + i);
    fs_shared_meet(shared);
    for (int i = 0; i < shared->ranks * EACH; i++)
        assert_true(shared->data[i] == (float)i);
    assert_true(shared->data[shared->ranks * EACH] == 0);
    fs_shared_free(shared);
    assert_null(shared->data);
}

static void ranks_of_a_node_share_memory(void **state)
{
    (void)state;
    fs_shared shared;
    assert_int_equal(fs_shared_create(MPI_COMM_WORLD, (size_t)ranks * 100000 + 1, "numbers", &shared), FS_OK);
    write_and_see(&shared, 1);
}

/* A rank that has no file descriptor left can neither offer nor open the memory. */
static void where_one_cannot_share_each_has_its_own(void **state)
{
    (void)state;
    for (int unable = 0; unable < ranks && unable < 2; unable++) {
        fs_shared shared;
        struct rlimit before, none;
        getrlimit(RLIMIT_NOFILE, &before);
        none = (struct rlimit){rank == unable ? 0 : before.rlim_cur, before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &none);
        fs_status status = fs_shared_create(MPI_COMM_WORLD, (size_t)ranks * 100000 + 1, "numbers", &shared);
        setrlimit(RLIMIT_NOFILE, &before);
        assert_int_equal(status, FS_OK);
        write_and_see(&shared, ranks == 1);
        setrlimit(RLIMIT_NOFILE, &none);
        share_data(0);
        setrlimit(RLIMIT_NOFILE, &before);
    }
}

/* Every rank is a team: the jobs are done once each, whoever takes them. */
static void hand_out_every_job(int ahead)
{
    enum { JOBS = 200 };
    int done[JOBS] = {0}, job;
    fs_desk desk;
    fs_desk_open(MPI_COMM_WORLD, JOBS, ranks, &desk);
    desk.ahead = ahead;
    while ((job = fs_desk_next(&desk)) >= 0) {
        done[job]++;
        if (rank == 0)
            fs_desk_serve(&desk, 0);
    }
    fs_desk_close(&desk);
    MPI_Allreduce(MPI_IN_PLACE, done, JOBS, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(done[i], 1);
}

static void the_desk_hands_out_every_job_once(void **state)
{
    (void)state;
    hand_out_every_job(0);
    hand_out_every_job(1);
}

static void a_desk_that_stops_hands_out_no_more(void **state)
{
    (void)state;
    enum { JOBS = 1000000 };
    int taken = 0;
    fs_desk desk;
    fs_desk_open(MPI_COMM_WORLD, JOBS, ranks, &desk);
    desk.ahead = 1;
    while (fs_desk_next(&desk) >= 0) {
        taken++;
        if (rank == 0)
            fs_desk_serve(&desk, taken == 10);
    }
    fs_desk_close(&desk);
    assert_true(rank > 0 || taken == 10);
    assert_true(taken < JOBS);
}

static void fields_beyond_a_nodes_memory_are_told_of_beforehand(void **state)
{
    (void)state;
    assert_int_equal(fs_silence_check_memory(MPI_COMM_WORLD, 10, 5000), FS_OK);
    assert_int_equal(fs_silence_check_memory(MPI_COMM_WORLD, 65000, 100000), FS_ERROR); /* 3 PiB, whatever the ranks */
    assert_non_null(strstr(fs_message(), "the fields of a layer of 100000 filters with 65000 labels take 3147"));
}

/* As many hosts as ranks, in pairs: 0 0 1 1 2. */
static void ranks_of_different_kinds_and_on_one_core_are_found(void **state)
{
    (void)state;
    fs_seat own, *all;
    fs_seat_find(&own);
    assert_true(*own.host && strstr(own.kind, ", ") && own.core >= -1);
    snprintf(own.host, sizeof own.host, "host%d", rank / 2);
    own.core = rank == 1 ? 0 : rank / 2;
    assert_int_equal(fs_seats_gather(MPI_COMM_WORLD, &own, &all), FS_OK);
    if (rank > 0) {
        assert_null(all);
        return;
    }
    char list[64];
    int first = -1, second = -1;
    assert_int_equal(fs_seats_check_alike(ranks, all), FS_OK);
    assert_int_equal(fs_seats_share_core(ranks, all, &first, &second), ranks > 1);
    assert_true(ranks == 1 || (first == 0 && second == 1));
    fs_seats_list_hosts(ranks, all, list, sizeof list);
    assert_string_equal(list, ranks < 3 ? "host0" : ranks < 5 ? "host0 host1" : "host0 host1 host2");
    all[0].core = -1; /* of all cores: shares none */
    assert_int_equal(fs_seats_share_core(ranks, all, &first, &second), ranks > 3);
    snprintf(all[0].kind, sizeof all[0].kind, "a");
    for (int r = 1; r < ranks; r++)
        snprintf(all[r].kind, sizeof all[r].kind, "%s", r == 1 ? "a" : "b");
    assert_int_equal(fs_seats_check_alike(ranks, all), ranks < 3 ? FS_OK : FS_MISMATCH);
    assert_true(ranks < 3 || strstr(fs_message(), "rank 0 on host host0 has a, rank 2 on host host1 has b"));
    fs_seats_list_kinds(ranks, all, list, sizeof list);
    assert_string_equal(list, ranks < 3 ? "a" : "a; b");
    fs_seats_list_kinds(ranks, all, list, 3);
    assert_string_equal(list, ranks < 3 ? "a" : "a;");
    free(all);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_the_binary_tree_over_slots_whatever_the_ranks),
        cmocka_unit_test(slots_are_dealt_out_once_and_images_too),
        cmocka_unit_test(ranks_agree_on_the_worst_status_and_its_message),
        cmocka_unit_test(a_data_set_arrives_everywhere),
        cmocka_unit_test(fields_beyond_a_nodes_memory_are_told_of_beforehand),
        cmocka_unit_test(ranks_of_a_node_share_memory),
        cmocka_unit_test(where_one_cannot_share_each_has_its_own),
        cmocka_unit_test(ranks_of_different_kinds_and_on_one_core_are_found),
        cmocka_unit_test(the_desk_hands_out_every_job_once),
        cmocka_unit_test(a_desk_that_stops_hands_out_no_more),
    };
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc > 1 && atoi(argv[1]) != ranks) { /* as many singletons would pass, and show nothing */
        fprintf(stderr, "%d ranks, expected %s\n", ranks, argv[1]);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    int failed = cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
    if (failed)
        MPI_Abort(MPI_COMM_WORLD, failed); /* the others may wait for a rank that gave up */
    MPI_Finalize();
    return failed;
}
