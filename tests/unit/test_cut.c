/* Phase four against its definition: networks whose filter is taken out by their parameters, or on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mpi.h>

#include "filterscope/cut.h"
#include "filterscope/drops.h"
#include "filterscope/knockout.h"
#include "filterscope/layers.h"
#include "support.h"

enum { IMAGES = 30, LABELS = 5, SIZE = 12, BATCH = 8 };

static const fs_arch chain = {"chain",
                              "conv 16 3x3 pad 1\nbn\nrelu\nconv 16 3x3 pad 1 bias\nbn\nrelu\nmaxpool 2\n"
                              "conv 24 3x3 pad 1 bias\nrelu\nmaxpool 2\nconv 8 3x3 stride 2 pad 1\nbn\nrelu\nfc K\n",
                              {0}};
static const fs_arch wide = {
    "wide", "conv 8 5x5 pad 2\nbn\nrelu\navgpool 3\nconv 48 3x3 bias\nrelu\nfc 40 bias\nrelu\nfc K\n", {0}};
static const fs_arch residual = {
    "residual",
    "conv 8 3x3 pad 1\nbn\nrelu as a probe\nconv 8 3x3 pad 1\nbn\nrelu\nconv 8 3x3 pad 1\nbn\nadd a\n"
    "relu as b probe\nconv 16 3x3 stride 2 pad 1\nbn\nrelu probe\nconv 16 3x3 pad 1\nbn as c\nfrom b\n"
    "conv 16 1x1 stride 2\nbn\nadd c\nrelu as d probe\nconv 16 3x3 pad 1 groups 4\ntanh\nglobalavg\nfc K\n",
    {0}};
/* What the next convolution takes along, and does not. */
static const fs_arch active = {"active",
                               "conv 8 3x3 pad 1\nbn\nrelu\nconv 16 3x3 pad 1\nbn\nsilu\nconv 16 1x1 bias\nrelu6\n"
                               "conv 16 3x3 pad 1 dilation 1\nleakyrelu 0.1\nmaxpool 2\nconv 16 5x3 stride 2x1 pad 2x1\nprelu\n"
                               "conv 8 3x3 pad 1\nbn\nsigmoid\nconv 8 3x3 pad 1\nhardswish\nconv 8 3x3\nbn\nrelu6\nfc K bias\n",
                               {0}};
static const fs_arch *const networks[] = {&chain, &wide, &residual, &active};
enum { NETWORKS = sizeof networks / sizeof *networks };

struct fixture {
    fs_network net;
    uint8_t pixels[IMAGES][SIZE][SIZE];
    uint16_t label[IMAGES];
    fs_dataset test;
    int layer[FS_ARCH_MOST_LAYERS];
    fs_knockout_input in;
};

/* Shifts that leave some filters without any positive value, and some nearly so. */
static void draw_network(fs_network *net)
{
    for (const fs_op *op = net->op; op < net->op + net->ops; op++) {
        uint32_t stream = (uint32_t)(op - net->op);
        if (op->biases)
            fs_random_uniform(7, FS_RANDOM_WEIGHTS, stream, 0.5f, net->parameter + op->bias, op->biases);
        if (op->biases && op->layer)
            for (size_t f = 0; f < op->biases; f += 3)
                net->parameter[op->bias + f] -= f % 2 ? 0.8f : 3;
        for (size_t i = 0; i < op->statistics; i++)
            net->statistic[op->statistic + i] =
                i < op->statistics / 2 ? 0.01f * (float)(i % 5) : 0.05f + 0.02f * (float)(i % 7);
    }
}

static struct fixture *make(const fs_arch *arch, fs_replacement replacement)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(fs_network_create(arch, SIZE, SIZE, 1, LABELS, 3, &f->net), FS_OK);
    draw_network(&f->net);
    for (int n = 0; n < IMAGES; n++)
        f->label[n] = (uint16_t)(n * 7 % LABELS);
    float *random = random_floats(5, sizeof f->pixels);
    for (size_t i = 0; i < sizeof f->pixels; i++)
        (&f->pixels[0][0][0])[i] = (uint8_t)(127 + 120 * random[i]);
    free(random);
    f->test = (fs_dataset){.images = IMAGES,
                           .height = SIZE,
                           .width = SIZE,
                           .channels = 1,
                           .labels = LABELS,
                           .pixels = &f->pixels[0][0][0],
                           .label = f->label};
    f->in = (fs_knockout_input){&f->net, &f->test, IMAGES - 3, BATCH, replacement, 0, f->layer};
    for (int layer = 1; layer <= f->net.layers; layer++)
        if (fs_network_probed(&f->net, layer))
            f->layer[f->in.layers++] = layer;
    return f;
}

static void destroy(struct fixture *f)
{
    fs_network_free(&f->net);
    free(f);
}

static int never(void *context)
{
    (void)context;
    return 0;
}

static fs_untouched measure(const struct fixture *f, int slots)
{
    fs_slots own;
    fs_untouched untouched;
    fs_slots_create(MPI_COMM_SELF, slots, &own);
    assert_int_equal(fs_untouched_measure(&own, &f->in, never, NULL, &untouched), FS_OK);
    return untouched;
}

struct overwriting {
    int layer, filter, filters, pixels;
    const float *replacement;
};

static void overwrite(void *context, int layer, int images, const float *features)
{
    const struct overwriting *o = context;
    for (int i = 0; i < images * o->pixels && layer == o->layer; i++)
        ((float *)features)[i * o->filters + o->filter] =
            o->replacement ? o->replacement[o->filter * o->pixels + i % o->pixels] : 0;
}

/* Every experiment with every filter of a layer: as its definition has it, and as the cut network does. */
static int compare_layer(struct fixture *f, int which, const float *replacement)
{
    int layer = f->layer[which], spared = 0, packed = 0;
    const fs_op *map = fs_network_probed(&f->net, layer);
    struct overwriting o = {layer, 0, map->out_channels, map->out_height * map->out_width, replacement};
    fs_workspace space;
    fs_cut cut;
    assert_int_equal(fs_workspace_create(&f->net, BATCH, FS_FOR_PROBES, &space), FS_OK);
    assert_int_equal(fs_cut_create(&f->net, layer, BATCH, FS_CUT_LINEAR, &cut), FS_OK);
    for (int n = 0; n < BATCH; n++)
        fs_dataset_scale(&f->test, n, cut.space.input + n * SIZE * SIZE);
    fs_cut_before(&cut, BATCH);
    float *untouched = random_floats(1, BATCH * LABELS);
    memcpy(untouched, fs_network_infer(&f->net, BATCH, cut.space.input, 0, NULL, NULL, &space), BATCH * LABELS * sizeof(float));
    for (o.filter = 0; o.filter < o.filters; o.filter++, packed = 0) {
        const float *expected = fs_network_infer(&f->net, BATCH, cut.space.input, 0, overwrite, &o, &space), *found;
        int image[BATCH];
        fs_cut_choose(&cut, &o.filter, 1, replacement);
        for (int n = 0; n < BATCH; n++) {
            if (fs_cut_pack(&cut, n, packed) == FS_CUT_PACKED)
                image[packed++] = n;
            else
                assert_close(LABELS, untouched + n * LABELS, expected + n * LABELS, 1e-5);
        }
        spared += BATCH - packed;
        found = fs_cut_behind(&cut, packed);
        for (int i = 0; i < packed; i++)
            assert_close(LABELS, found + i * LABELS, expected + image[i] * LABELS, 1e-5);
    }
    free(untouched);
    fs_cut_free(&cut);
    fs_workspace_free(&space);
    return spared;
}

static void a_cut_network_answers_as_a_whole_one_whose_map_is_overwritten(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORKS; i++)
        for (fs_replacement replacement = FS_REPLACE_ZERO; replacement <= FS_REPLACE_MEAN; replacement++) {
            struct fixture *f = make(networks[i], replacement);
            fs_untouched untouched = measure(f, 2);
            int spared = 0;
            for (int which = 0; which < f->in.layers; which++)
                spared += compare_layer(f, which, untouched.mean[which]);
            assert_true(spared > 0); /* dead filters, and hidden ones */
            fs_untouched_free(&untouched);
            destroy(f);
        }
}

/* Several filters at once: all of a map, and some. */
static void any_filters_are_taken_out_together(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORKS; i++) {
        struct fixture *f = make(networks[i], FS_REPLACE_ZERO);
        const int filter[] = {0, 1, 2, 3, 4, 5, 6, 7};
        fs_cut all, one;
        assert_int_equal(fs_cut_create(&f->net, f->layer[0], BATCH, FS_CUT_LINEAR, &all), FS_OK);
        for (int n = 0; n < BATCH; n++)
            fs_dataset_scale(&f->test, n, all.space.input + n * SIZE * SIZE);
        fs_cut_before(&all, BATCH);
        fs_cut_choose(&all, filter, 8, NULL);
        for (int n = 0; n < BATCH; n++)
            assert_int_equal(fs_cut_pack(&all, n, n), FS_CUT_PACKED);
        const float *found = fs_cut_behind(&all, BATCH);
        /* a second network without these filters' parameters */
        const fs_op *norm = &f->net.op[1];
        for (int k = 0; k < 8; k++)
            f->net.parameter[norm->weight + (size_t)filter[k]] = f->net.parameter[norm->bias + (size_t)filter[k]] = 0;
        assert_int_equal(fs_cut_create(&f->net, f->layer[0], BATCH, FS_CUT_LINEAR, &one), FS_OK);
        memcpy(one.space.input, all.space.input, BATCH * SIZE * SIZE * sizeof(float));
        assert_close(BATCH * LABELS, found, fs_network_infer(&f->net, BATCH, one.space.input, 0, NULL, NULL, &one.space), 1e-5);
        fs_cut_free(&all);
        fs_cut_free(&one);
        destroy(f);
    }
}

static void counts_are_those_of_the_literal_experiment(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORKS; i++)
        for (fs_replacement replacement = FS_REPLACE_ZERO; replacement <= FS_REPLACE_MEAN; replacement++) {
            struct fixture *f = make(networks[i], replacement);
            fs_untouched untouched = measure(f, 4);
            for (int which = 0; which < f->in.layers; which++) {
                int count = fs_network_probed(&f->net, f->layer[which])->out_channels - 1;
                fs_knockout found, expected;
                assert_int_equal(fs_knockout_create(count, LABELS, &found), FS_OK);
                assert_int_equal(fs_knockout_create(count, LABELS, &expected), FS_OK);
                assert_int_equal(fs_knockout_filters(&f->in, &untouched, which, 1, count, never, NULL, &found), FS_OK);
                assert_int_equal(fs_knockout_literal(&f->in, &untouched, which, 1, count, never, NULL, &expected), FS_OK);
                assert_memory_equal(found.right, expected.right, (size_t)count * LABELS * sizeof(int32_t));
                assert_memory_equal(found.answers, expected.answers, (size_t)count * LABELS * LABELS * sizeof(int32_t));
                assert_memory_equal(found.changed, expected.changed, (size_t)count * sizeof(int32_t));
                for (int n = 0; n < count * LABELS; n++)
                    assert_true(fabs(found.loss[n] - expected.loss[n]) <= 1e-5 * fabs(expected.loss[n]));
                for (int n = 0; n < count; n++)
                    assert_int_equal(found.work[n][FS_WORK_RUN] + found.work[n][FS_WORK_SAME] + found.work[n][FS_WORK_HIDDEN],
                                     f->in.images);
                fs_knockout_free(&found);
                fs_knockout_free(&expected);
            }
            fs_untouched_free(&untouched);
            destroy(f);
        }
}

/* Sets of filters: none, one, some, all but these, all. */
static void sets_count_as_the_literal_experiment(void **state)
{
    (void)state;
    enum { SETS = 5 };
    int changed = 0;
    for (int i = 0; i < NETWORKS; i++)
        for (fs_replacement replacement = FS_REPLACE_ZERO; replacement <= FS_REPLACE_MEAN; replacement++) {
            struct fixture *f = make(networks[i], replacement);
            fs_untouched untouched = measure(f, 4);
            for (int which = 0; which < f->in.layers; which++) {
                int filters = fs_network_probed(&f->net, f->layer[which])->out_channels, order[48];
                for (int n = 0; n < filters; n++)
                    order[n] = (n * 5 + 3) % filters; /* the numbers of filters have no factor 5 */
                const fs_filter_set set[SETS] = {
                    {order, 0}, {order, 1}, {order, 4}, {order + 4, filters - 4}, {order, filters}};
                fs_knockout found, expected, one;
                assert_int_equal(fs_knockout_create(SETS, LABELS, &found), FS_OK);
                assert_int_equal(fs_knockout_create(SETS, LABELS, &expected), FS_OK);
                assert_int_equal(fs_knockout_create(1, LABELS, &one), FS_OK);
                assert_int_equal(fs_knockout_sets(&f->in, &untouched, which, set, SETS, never, NULL, &found), FS_OK);
                assert_int_equal(fs_knockout_literal_sets(&f->in, &untouched, which, set, SETS, never, NULL, &expected), FS_OK);
                assert_memory_equal(found.answers, expected.answers, SETS * LABELS * LABELS * sizeof(int32_t));
                assert_memory_equal(found.changed, expected.changed, SETS * sizeof(int32_t));
                for (int n = 0; n < SETS * LABELS; n++)
                    assert_true(fabs(found.loss[n] - expected.loss[n]) <= 1e-5 * fabs(expected.loss[n]));
                assert_int_equal(found.work[0][FS_WORK_SAME], f->in.images);
                assert_int_equal(found.changed[0], 0);
                changed += found.changed[4];
                assert_int_equal(fs_knockout_filters(&f->in, &untouched, which, order[0], 1, never, NULL, &one), FS_OK);
                assert_memory_equal(one.answers, found.answers + LABELS * LABELS, LABELS * LABELS * sizeof(int32_t));
                fs_knockout_free(&one);
                fs_knockout_free(&found);
                fs_knockout_free(&expected);
            }
            fs_untouched_free(&untouched);
            destroy(f);
        }
    assert_true(changed > 0);
}

static void blocks_of_any_size_count_the_same(void **state)
{
    (void)state;
    struct fixture *f = make(&chain, FS_REPLACE_ZERO);
    fs_untouched untouched = measure(f, 1);
    fs_knockout all, one;
    assert_int_equal(fs_knockout_create(16, LABELS, &all), FS_OK);
    assert_int_equal(fs_knockout_filters(&f->in, &untouched, 0, 0, 16, never, NULL, &all), FS_OK);
    for (int filter = 0; filter < 16; filter++) {
        assert_int_equal(fs_knockout_create(1, LABELS, &one), FS_OK);
        assert_int_equal(fs_knockout_filters(&f->in, &untouched, 0, filter, 1, never, NULL, &one), FS_OK);
        assert_memory_equal(one.right, all.right + filter * LABELS, LABELS * sizeof(int32_t));
        assert_memory_equal(one.work, all.work + filter, sizeof *one.work);
        fs_knockout_free(&one);
    }
    fs_knockout_free(&all);
    fs_untouched_free(&untouched);
    destroy(f);
}

/* Of any images, in any order, to the last bit; and a room is kept from one call to the next. */
static void parts_add_up_to_the_whole(void **state)
{
    (void)state;
    struct fixture *f = make(&residual, FS_REPLACE_MEAN);
    fs_untouched untouched = measure(f, 1);
    fs_knockout_room room = {0};
    for (int which = 0; which < f->in.layers; which++) {
        fs_knockout whole, sum, part;
        assert_int_equal(fs_knockout_create(8, LABELS, &whole), FS_OK);
        assert_int_equal(fs_knockout_create(8, LABELS, &sum), FS_OK);
        assert_int_equal(fs_knockout_filters(&f->in, &untouched, which, 0, 8, never, NULL, &whole), FS_OK);
        for (int begin = (f->in.images - 1) / BATCH * BATCH; begin >= 0; begin -= BATCH) {
            fs_knockout_input some = f->in;
            some.begin = begin;
            some.images = begin + BATCH < f->in.images ? begin + BATCH : f->in.images;
            some.room = &room;
            assert_int_equal(fs_knockout_create(8, LABELS, &part), FS_OK);
            assert_int_equal(fs_knockout_filters(&some, &untouched, which, 0, 8, never, NULL, &part), FS_OK);
            fs_knockout_add(&part, &sum);
            fs_knockout_free(&part);
        }
        assert_true(fs_knockout_bytes(&sum) == 8 * (LABELS * 8 + (LABELS + LABELS * LABELS + 1 + 3) * 4));
        assert_memory_equal(sum.loss, whole.loss, fs_knockout_bytes(&sum));
        fs_knockout_free(&whole);
        fs_knockout_free(&sum);
    }
    fs_knockout_room_free(&room);
    fs_untouched_free(&untouched);
    destroy(f);
}

static int always(void *context)
{
    ++*(int *)context;
    return 1;
}

static void it_stops_within_one_batch(void **state)
{
    (void)state;
    struct fixture *f = make(&chain, FS_REPLACE_ZERO);
    fs_untouched untouched = measure(f, 1);
    fs_knockout knockout;
    int asked = 0;
    assert_int_equal(fs_knockout_create(16, LABELS, &knockout), FS_OK);
    assert_int_equal(fs_knockout_filters(&f->in, &untouched, 0, 0, 16, always, &asked, &knockout), FS_STOPPED);
    assert_int_equal(fs_knockout_literal(&f->in, &untouched, 0, 0, 16, always, &asked, &knockout), FS_STOPPED);
    assert_int_equal(asked, 2);
    fs_knockout_free(&knockout);
    fs_untouched_free(&untouched);
    destroy(f);
}

static void the_costs_are_those_of_the_parts(void **state)
{
    (void)state;
    fs_network net;
    fs_cut_cost cost;
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_int_equal(fs_cut_find_cost(&net, 4, FS_CUT_LINEAR, &cost), FS_OK);
    assert_true(cost.before == fs_network_macs(&net, 5));       /* the fifth convolution is computed once ... */
    assert_true(cost.behind == 9.0 * 512 * 2 * 2 + 512 * 10);   /* ... but for one channel; then the fully connected layer */
    assert_int_equal(cost.floats, 4 * 512 + 4 * 512 + 2 * 512); /* the map, the next one and twice that after its pool */
    assert_int_equal(fs_cut_find_cost(&net, 5, FS_CUT_LINEAR, &cost), FS_OK);
    assert_true(cost.before == fs_network_macs(&net, 0) && cost.behind == 10);
    assert_int_equal(fs_cut_find_cost(&net, 4, FS_CUT_WHOLE, &cost), FS_OK);
    assert_true(cost.before == fs_network_macs(&net, 4) && cost.before + cost.behind == fs_network_macs(&net, 0));
    assert_int_equal(cost.floats, 2 * 4 * 512);
    fs_network_free(&net);
}

static void an_auc_counts_pairs_and_ties_half(void **state)
{
    (void)state;
    const double value[] = {1, 3, 2, 2, 0, 2};
    const uint8_t positive[] = {0, 1, 1, 0, 0, 1}, all[] = {1, 1, 1, 1, 1, 1};
    int order[6];
    fs_order(6, value, order);
    /* 3 beats three; each 2 beats 1 and 0 and ties with a 2 */
    assert_true(fs_auc(6, 6, order, value, positive, NULL) == (3 + 2.5 + 2.5) / 9);
    assert_true(isnan(fs_auc(6, 6, order, value, all, NULL)));
    /* groups of two, of which the second counts twice and the third not at all: 1 3 | 2 2 | 2 2 */
    const int weight[] = {1, 2, 0};
    assert_true(fs_auc(6, 2, order, value, positive, weight) == (3 + 2 * (1 + 1)) / 9.0);
}

static void an_interval_holds_the_auc_and_is_the_same_again(void **state)
{
    (void)state;
    enum { GROUPS = 40, WIDTH = 6, COUNT = GROUPS * WIDTH };
    double value[COUNT], low, high, again[2], other[2];
    uint8_t positive[COUNT];
    int order[COUNT];
    float *random = random_floats(11, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        positive[i] = random[i] > 0;
        value[i] = random[COUNT + i] + 0.3 * positive[i];
    }
    fs_order(COUNT, value, order);
    double auc = fs_auc(COUNT, WIDTH, order, value, positive, NULL);
    assert_int_equal(fs_auc_interval(COUNT, WIDTH, order, value, positive, 3, 1000, &low, &high), FS_OK);
    assert_int_equal(fs_auc_interval(COUNT, WIDTH, order, value, positive, 3, 1000, &again[0], &again[1]), FS_OK);
    assert_int_equal(fs_auc_interval(COUNT, WIDTH, order, value, positive, 4, 1000, &other[0], &other[1]), FS_OK);
    assert_true(low < auc && auc < high && high - low < 0.2);
    assert_true(low == again[0] && high == again[1] && (low != other[0] || high != other[1]));
    free(random);
}

static void ranks_correlate(void **state)
{
    (void)state;
    const double a[] = {1, 2, 3, 4}, b[] = {-10, 0, 100, 101}, ties[] = {1, 1, 2, 2}, constant[] = {5, 5, 5, 5};
    double room[8];
    int order[4];
    assert_true(fs_rank_correlation(4, a, b, room, order) == 1);
    assert_true(fabs(fs_rank_correlation(4, a, ties, room, order) - 2 / sqrt(5)) < 1e-12); /* 4 / sqrt(5 x 4) */
    assert_true(isnan(fs_rank_correlation(4, a, constant, room, order)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_network_answers_as_a_whole_one_whose_map_is_overwritten),
        cmocka_unit_test(any_filters_are_taken_out_together),
        cmocka_unit_test(counts_are_those_of_the_literal_experiment),
        cmocka_unit_test(sets_count_as_the_literal_experiment),
        cmocka_unit_test(blocks_of_any_size_count_the_same),
        cmocka_unit_test(parts_add_up_to_the_whole),
        cmocka_unit_test(it_stops_within_one_batch),
        cmocka_unit_test(the_costs_are_those_of_the_parts),
        cmocka_unit_test(an_auc_counts_pairs_and_ties_half),
        cmocka_unit_test(an_interval_holds_the_auc_and_is_the_same_again),
        cmocka_unit_test(ranks_correlate),
    };
    MPI_Init(&argc, &argv);
    int failed = cmocka_run_group_tests_name("cut", tests, NULL, NULL);
    MPI_Finalize();
    return failed;
}
