/* Units and bundles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/plan.h"
#include "filterscope/results.h"

static void a_plan_has_a_probe_and_blocks_for_each_layer(void **state)
{
    (void)state;
    fs_network net;
    fs_plan plan;
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_int_equal(fs_plan_create(&net, "1,5", 100, &plan), FS_OK);
    assert_int_equal(plan.layers, 2);
    assert_true(plan.layer[0].layer == 1 && plan.layer[0].height == 16 && plan.layer[0].pooled == 1);
    assert_true(plan.layer[1].layer == 5 && plan.layer[1].filters == 512 && plan.layer[1].width == 1);
    assert_int_equal(fs_plan_features(&plan, 0), 64 * 16 * 16);
    static const fs_unit expected[] = {
        {FS_UNIT_PROBE, 0, 0, 64},      {FS_UNIT_PROBE, 1, 0, 512},     {FS_UNIT_SILENCE, 0, 0, 64},
        {FS_UNIT_SILENCE, 1, 0, 100},   {FS_UNIT_SILENCE, 1, 100, 100}, {FS_UNIT_SILENCE, 1, 200, 100},
        {FS_UNIT_SILENCE, 1, 300, 100}, {FS_UNIT_SILENCE, 1, 400, 100}, {FS_UNIT_SILENCE, 1, 500, 12},
    };
    assert_int_equal(plan.units, sizeof expected / sizeof *expected);
    assert_memory_equal(plan.unit, expected, sizeof expected);
    fs_plan_free(&plan);
    fs_network_free(&net);
}

static void a_layer_that_is_none_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"0", "6", "x", "1,", "1,2x", "", "1.5", ",", "1,,2", " 1", "+1", "4294967297"};
    fs_network net;
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 32, 32, 3, 10, 1, &net), FS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fs_plan plan;
        fs_status status = fs_plan_create(&net, bad[i], 64, &plan);
        if (strcmp(bad[i], "1,") == 0) { /* a comma at the end is no layer, and harmless */
            assert_int_equal(status, FS_OK);
            fs_plan_free(&plan);
            continue;
        }
        assert_int_equal(status, FS_USAGE);
        assert_non_null(strstr(fs_message(), "--layers"));
    }
    fs_network_free(&net);
}

/* Hidden fully connected layers come behind the convolutions, which names and runs of layers tell apart. */
static void layers_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        int layers, first, last;
        const char *name;
    } good[] = {
        {"all", 15, 1, 15, "fc2"},        {"fc1", 1, 14, 14, "fc1"}, {"conv3,13-14", 3, 3, 14, "fc1"},
        {"conv12-fc1", 3, 12, 14, "fc1"}, {"15,1", 2, 1, 15, "fc2"}, {"conv13-13", 1, 13, 13, "conv13"},
    };
    static const char *const bad[] = {"fc3", "conv14", "fc", "conv", "3-1", "fc1-conv2", "1-", "-2", "1-2-3", "conv01", "fc1 "};
    fs_network net;
    fs_plan plan;
    assert_int_equal(fs_network_create(fs_arch_find("vgg16"), 32, 32, 3, 10, 1, &net), FS_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(fs_plan_create(&net, good[i].list, 64, &plan), FS_OK);
        const fs_layer_row *last = &plan.layer[plan.layers - 1];
        assert_true(plan.layers == good[i].layers && plan.layer[0].layer == good[i].first && last->layer == good[i].last);
        assert_string_equal(last->name, good[i].name);
        assert_true(last->layer < 14 || (last->filters == 4096 && last->height == 1 && last->width == 1 && !last->pooled));
        fs_plan_free(&plan);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(fs_plan_create(&net, bad[i], 64, &plan), FS_USAGE);
        assert_non_null(strstr(fs_message(), "--layers: "));
    }
    fs_network_free(&net);
}

/* The shortcuts of option B are convolutions that no probe sees, and whose multiply-adds count. */
static void a_network_with_branches_is_planned_by_what_is_probed(void **state)
{
    (void)state;
    fs_network net;
    fs_plan plan;
    assert_int_equal(fs_network_create(fs_arch_find("resnet110-b"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_int_equal(fs_plan_create(&net, "all", 64, &plan), FS_OK);
    assert_true(plan.layers == 109 && plan.layer[38].layer == 39 && plan.layer[39].layer == 41 && plan.layer[108].layer == 111);
    fs_plan_free(&plan);
    assert_int_equal(fs_plan_create(&net, "40", 64, &plan), FS_USAGE);
    assert_non_null(strstr(fs_message(), "convolution 40 of resnet110-b is not probed"));
    fs_network_free(&net);
    assert_int_equal(fs_network_create(fs_arch_find("resnet20-b"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_int_equal(fs_plan_create(&net, "all", 64, &plan), FS_OK);
    double shortcuts = 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8, chain = 40551040 - 640; /* resnet20's, without its fc */
    assert_true(fs_plan_trunk_cost(&net, &plan, 18) == chain + shortcuts);
    fs_plan_free(&plan);
    fs_network_free(&net);
}

static void more_layers_than_a_sweep_takes_are_refused(void **state)
{
    (void)state;
    static char text[20 * (FS_MOST_LAYERS + 2)] = "";
    const fs_arch arch = {.name = "mine", .text = text};
    fs_network net;
    fs_plan plan;
    for (int layer = 0; layer <= FS_MOST_LAYERS; layer++)
        strcat(text, "conv 2 1x1\n");
    strcat(text, "globalavg\nfc K\n");
    assert_int_equal(fs_network_create(&arch, 2, 2, 1, 2, 1, &net), FS_OK);
    assert_int_equal(fs_plan_create(&net, "all", 64, &plan), FS_USAGE);
    assert_non_null(strstr(fs_message(), "more than 256 layers of mine are to be probed: --layers chooses"));
    assert_int_equal(fs_plan_create(&net, "257,3", 64, &plan), FS_OK);
    assert_true(plan.layers == 2 && plan.layer[1].layer == 257);
    fs_plan_free(&plan);
    fs_network_free(&net);
}

static void bundles_cover_all_layers_and_the_dearest_is_as_cheap_as_can_be(void **state)
{
    (void)state;
    fs_network net;
    fs_plan plan;
    int index[FS_MOST_LAYERS], bundle[FS_MOST_LAYERS];
    assert_int_equal(fs_network_create(fs_arch_find("vgg16"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_int_equal(fs_plan_create(&net, "all", 64, &plan), FS_OK);
    for (int i = 0; i < plan.layers; i++)
        index[i] = i;
    assert_int_equal(fs_plan_bundles(&net, &plan, index, 13, 1, bundle), 1);
    for (int i = 0; i < 13; i++)
        assert_int_equal(bundle[i], 0);
    int bundles = fs_plan_bundles(&net, &plan, index, 13, 20, bundle);
    assert_in_range(bundles, 2, 13);
    assert_int_equal(bundle[12], 0); /* the deepest trunk is the longest job */
    for (int i = 1; i < 13; i++)
        assert_true(bundle[i - 1] == bundle[i] || bundle[i - 1] == bundle[i] + 1);
    assert_int_equal(bundle[0], bundles - 1);
    /* more than one layer beside the deepest one would make the dearest bundle dearer than it must be */
    assert_true(bundle[11] != 0);
    fs_plan_free(&plan);
    fs_network_free(&net);
}

static void another_plan_is_named_with_both_values(void **state)
{
    (void)state;
    static char names[3][FS_LABEL_NAME_BYTES] = {"cat", "dog", "bird"}, others[3][FS_LABEL_NAME_BYTES] = {"cat", "fox", "bird"};
    static const fs_layer_row layers[] = {{1, "conv1", 64, 16, 16, 1}, {2, "conv2", 128, 8, 8, 1}};
    static const fs_layer_row shrunk[] = {{1, "conv1", 64, 16, 16, 1}, {2, "conv2", 128, 4, 8, 1}};
    static const fs_unit units[] = {{FS_UNIT_PROBE, 0, 0, 64}, {FS_UNIT_SILENCE, 0, 0, 64}};
    static const fs_unit halves[] = {{FS_UNIT_PROBE, 0, 0, 64}, {FS_UNIT_SILENCE, 0, 0, 32}};
    fs_config config = {0}, slower = {0};
    fs_config_set(&config, "lr", "0.01");
    fs_config_set(&slower, "lr", "0.001");
    const fs_results_plan stored = {3, (const char(*)[FS_LABEL_NAME_BYTES])names, 2, layers, 5, 2, units, &config};
    fs_results_plan now = stored;
    assert_int_equal(fs_results_match("a.h5", &stored, &now), FS_OK);

    const struct {
        fs_results_plan plan;
        const char *message;
    } cases[] = {
        {{3, stored.label_name, 2, layers, 5, 2, units, &slower}, "lr: file has 0.01, this command has 0.001"},
        {{3, stored.label_name, 2, layers, 6, 2, units, &config}, "2 units, 5 epochs, this command has 3, 2, 2, 6"},
        {{3, (const char(*)[FS_LABEL_NAME_BYTES])others, 2, layers, 5, 2, units, &config},
         "label 1: file has dog, this command has fox"},
        {{3, stored.label_name, 2, shrunk, 5, 2, units, &config},
         "layer row 1: file has conv2 (number 2) with 128 maps of 8x8"},
        {{3, stored.label_name, 2, layers, 5, 2, halves, &config},
         "filters 0 to 63, this command has the silencing of layer row 0, "
         "filters 0 to 31"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fs_results_match("a.h5", &stored, &cases[i].plan), FS_MISMATCH);
        assert_ptr_equal(strstr(fs_message(), "a.h5: "), fs_message());
        assert_non_null(strstr(fs_message(), cases[i].message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_has_a_probe_and_blocks_for_each_layer),
        cmocka_unit_test(a_layer_that_is_none_is_named),
        cmocka_unit_test(layers_have_names),
        cmocka_unit_test(a_network_with_branches_is_planned_by_what_is_probed),
        cmocka_unit_test(more_layers_than_a_sweep_takes_are_refused),
        cmocka_unit_test(bundles_cover_all_layers_and_the_dearest_is_as_cheap_as_can_be),
        cmocka_unit_test(another_plan_is_named_with_both_values),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
