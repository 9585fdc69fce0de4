/* Architectures, the network in training against central differences and against inference, slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mpi.h>

#include "filterscope/layers.h"
#include "filterscope/train.h"
#include "support.h"

static void the_architectures_have_the_maps_of_the_method(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int layers, inputs, hidden;
    } expected[] = {
        {"vgg16", 13, 512, 4096},   {"vgg16-fc1", 13, 512, 0}, {"vgg11", 10, 2048, 0},   {"vgg6", 5, 512, 0},
        {"avgg16", 13, 8192, 4096}, {"avgg6", 5, 2048, 0},     {"avgg8", 5, 8192, 8192},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        fs_network net;
        int linear = 0;
        assert_int_equal(fs_network_create(fs_arch_find(expected[i].name), 32, 32, 3, 10, 1, &net), FS_OK);
        assert_int_equal(net.convolutions, expected[i].layers);
        assert_int_equal(net.layers, expected[i].layers + (expected[i].hidden ? 2 : 0));
        for (int op = 0; op < net.ops; op++) {
            if (strcmp(net.op[op].kind->word, "fc") != 0)
                continue;
            if (linear++ == 0)
                assert_int_equal(fs_op_inputs(&net.op[op]), expected[i].inputs);
            int last = op == net.ops - 1;
            assert_int_equal(net.op[op].out_channels, last ? 10 : expected[i].hidden);
            assert_int_equal(net.op[op].biases, last ? 0 : expected[i].hidden);
        }
        assert_int_equal(linear, expected[i].hidden ? 3 : 1);
        fs_network_free(&net);
    }
}

/* Parameters as torchvision's networks have them (K = 1000), as the papers round them (0.27M ... 1.7M of the ResNets for
 * CIFAR-10, 1.0M of the DenseNet), and as the collections' have. */
static void the_other_architectures_have_the_published_numbers_of_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int size, labels, layers, probes;
        size_t parameters;
    } expected[] = {
        {"resnet20", 32, 10, 19, 19, 269722},         {"resnet32", 32, 10, 31, 31, 464154},
        {"resnet44", 32, 10, 43, 43, 658586},         {"resnet56", 32, 10, 55, 55, 853018},
        {"resnet110", 32, 10, 109, 109, 1727962},     {"resnet20-b", 32, 10, 21, 19, 272474},
        {"resnet32-b", 32, 10, 33, 31, 466906},       {"resnet44-b", 32, 10, 45, 43, 661338},
        {"resnet56-b", 32, 10, 57, 55, 855770},       {"resnet110-b", 32, 10, 111, 109, 1730714},
        {"resnet18", 32, 10, 20, 17, 11173962},       {"resnet18-224", 224, 1000, 20, 17, 11689512},
        {"mobilenetv2", 224, 1000, 52, 19, 3504872},  {"efficientnet-b0", 224, 1000, 81, 18, 5288548},
        {"densenet40-12", 32, 10, 39, 39, 1019722},   {"vgg16-bn", 224, 1000, 15, 15, 138365992},
        {"vgg16-bn-cifar", 32, 10, 15, 15, 15253578},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        fs_network net;
        int size = expected[i].size, probes = 0;
        assert_int_equal(fs_network_create(fs_arch_find(expected[i].name), size, size, 3, expected[i].labels, 1, &net), FS_OK);
        for (int layer = 1; layer <= net.layers; layer++)
            probes += fs_network_probed(&net, layer) != NULL;
        if (net.layers != expected[i].layers || probes != expected[i].probes || net.parameters != expected[i].parameters)
            fail_msg("%s: %d layers, %d probes, %zu parameters", expected[i].name, net.layers, probes, net.parameters);
        fs_network_free(&net);
    }
}

static void vgg16_has_the_known_multiply_adds_and_probe_points(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(fs_network_create(fs_arch_find("vgg16-fc1"), 32, 32, 3, 10, 1, &net), FS_OK);
    assert_true(fs_network_macs(&net, 13) == 313196544.0);
    assert_true(fs_network_macs(&net, 1) == 9.0 * 3 * 64 * 1024);
    const fs_op *first = fs_network_probed(&net, 1), *second = fs_network_probed(&net, 2);
    assert_true(strcmp(first->kind->word, "relu") == 0 && first->out_height == 32);
    assert_true(second->kind->pools && second->out_height == 16 && second->out_channels == 64);
    fs_network_free(&net);
}

static void an_unknown_architecture_and_an_impossible_pool_are_refused_by_name(void **state)
{
    (void)state;
    fs_network net;
    assert_null(fs_arch_find("vgg17"));
    assert_non_null(strstr(fs_message(), "'vgg17'"));
    assert_non_null(strstr(fs_message(), "avgg16"));
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 28, 28, 1, 10, 1, &net), FS_USAGE);
    assert_non_null(strstr(fs_message(), "2x2 pool does not divide the 7x7 map after convolution 3"));
    assert_null(net.op);
}

static void a_weight_that_is_not_finite_is_named(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 32, 32, 1, 10, 1, &net), FS_OK);
    assert_int_equal(fs_network_check(&net, "m.h5"), FS_OK);
    net.parameter[net.op[0].weight + 7] = NAN;
    assert_int_equal(fs_network_check(&net, "m.h5"), FS_ERROR);
    assert_non_null(strstr(fs_message(), "m.h5: /parameter/conv1.weight[0, 0, 0, 7] is nan"));
    fs_network_free(&net);
}

enum { BATCH = 9, SIDE = 8 };
static const fs_arch tiny = {"tiny",
                             "conv 3 3x3 pad 1 bias\nbn\nrelu\nmaxpool 2\nconv 4 3x3 pad 1 bias\nbn\nrelu\navgpool 2\n"
                             "fc 6 bias\nrelu\nfc K\n",
                             {0}};

/* All that the built-in ones lack: no square input, stride, kernels of other sizes, no bias, pools of any window, ReLU before
 * batch norm, batch norm after fc, a global pool. */
static const fs_arch odd = {
    "odd",
    "conv 3 5x5 stride 2 bias # a comment\n\nrelu\nmaxpool 3x2 stride 2x1 pad 1 ceil\nconv 4 2x2 pad 1\nrelu\nbn\n"
    "avgpool 3x2 stride 1 pad 1x0\n dropout 0.5\nconv 5 1x1 bias\nbn\nglobalavg\nflatten\nfc 6\nbn\nrelu\n"
    "fc K bias",
    {0}};

/* Every activation, after a conv, a batch norm, a pool, another and an fc: in place and not, in training. */
static const fs_arch active = {"active",
                               "conv 3 3x3 pad 1 bias\nsilu\nconv 4 3x3 bias\nbn\ntanh\nmaxpool 2 floor\ngelu\nconv 3 2x2\n"
                               "prelu\nsigmoid\nhardswish\navgpool 2 stride 1\nelu 0.7\nleakyrelu 0.2\nglobalavg\nfc 6 bias\n"
                               "relu6\nfc 6 bias\nhardsigmoid\nfc K",
                               {0}};

/* Branches: a map that three lines read, an add of three, both forms of scale, a concat, a join that works in place. */
static const fs_arch branching = {
    "branching",
    "input 10x11x2 as images\nconv 4 3x3 pad 1\nbn\nrelu as a\nconv 4 3x3 pad 1\nbn as b\nfrom a\n"
    "conv 4 1x1 bias\nadd a b\nrelu as c\nglobalavg\nconv 4 1x1 bias\nsigmoid\nscale c\nrelu as d\n"
    "conv 4 3x3 pad 1 bias\ntanh\nscale c as e\nconv 3 3x3 pad 1\nrelu as f\nfrom images\n"
    "conv 2 1x1 as g\nconcat d f g\nrelu\nmaxpool 2 floor\nconv 5 1x1\nglobalavg\nfc 6\nrelu as h\n"
    "fc 6 bias\nadd h\nfc K",
    {0}};

/* Convolutions of any form. */
static const fs_arch forms = {
    "forms",
    "conv 6 2x3 stride 2x1 pad same\nrelu\nconv 6 3x3 pad 1 groups 6 bias\nbn\nrelu\nconv 4 3x2 dilation 2 pad "
    "0x1x2x3 groups 2\ntanh\nconv 8 1x3 groups 4\nglobalavg\nfc K",
    {0}};

/* Pools with another padding on each side, and the shortcut without parameters. */
static const fs_arch padded = {
    "padded",
    "conv 3 3x3 pad 1\nbn\nmaxpool 3x2 stride 2 pad 1x0x0x1 floor as a\nconv 6 3x3 stride 2 pad 1 bias\nhardsigmoid 0.2 as b\n"
    "from a\nsubsample 2\nzeropad channels 1 2\nadd b\ntanh\navgpool 3x2 stride 1 pad same\nconv 4 1x1\n"
    "avgpool 2 stride 1 pad 1x0x0x1 inside\nglobalavg\nfc K",
    {0}};

struct batch {
    fs_network net;
    fs_slots own;
    fs_backprop *backprop;
};

static struct batch *make_batch_of(const fs_arch *arch, int height, int width, int slots)
{
    struct batch *b = calloc(1, sizeof *b);
    assert_int_equal(fs_network_create(arch, height, width, 2, 5, 3, &b->net), FS_OK);
    fs_slots_create(MPI_COMM_SELF, slots, &b->own);
    b->backprop = fs_backprop_create(&b->net, &b->own, BATCH);
    assert_non_null(b->backprop);
    fs_random_uniform(4, FS_RANDOM_WEIGHTS, 0, 1, fs_backprop_input(b->backprop), (size_t)BATCH * height * width * 2);
    for (int n = 0; n < BATCH; n++)
        fs_backprop_label(b->backprop)[n] = (uint16_t)(n % 5);
    return b;
}

static struct batch *make_batch(int slots)
{
    return make_batch_of(&tiny, SIDE, SIDE, slots);
}

static void free_batch(struct batch *b)
{
    fs_backprop_free(b->backprop);
    fs_network_free(&b->net);
    free(b);
}

static double batch_loss(const void *context, float *unused)
{
    const struct batch *b = context;
    fs_batch_sums sums;
    (void)unused;
    fs_backprop_run(b->backprop, BATCH, 0, &sums);
    return sums.loss / BATCH;
}

/* All but a share of the parameters, near which a ReLU or a pool changes over, are compared. */
static void compare_with_differences(struct batch *b, double least)
{
    float *gradient = malloc(b->net.parameters * sizeof *gradient);
    int checked = 0;
    batch_loss(b, NULL);
    memcpy(gradient, fs_backprop_gradient(b->backprop), b->net.parameters * sizeof *gradient);
    for (size_t i = 0; i < b->net.parameters; i++) {
        double slope = central_difference(&b->net.parameter[i], 2e-3f, batch_loss, b, NULL);
        double finer = central_difference(&b->net.parameter[i], 1e-3f, batch_loss, b, NULL);
        if (fabs(slope - finer) > 2e-3) /* a ReLU or a pool changes over within the step */
            continue;
        assert_slope(finer, gradient[i], 4e-3);
        checked++;
    }
    assert_true(checked > least * (double)b->net.parameters);
    free(gradient);
}

static void training_gradients_are_central_differences_for_any_slots(void **state)
{
    (void)state;
    for (int slots = 1; slots <= 16; slots *= 4) { /* 16: more slots than images, some are empty */
        struct batch *b = make_batch(slots);
        compare_with_differences(b, 0.9);
        free_batch(b);
    }
}

static void training_gradients_of_an_unusual_network_are_central_differences(void **state)
{
    (void)state;
    for (int slots = 1; slots <= 4; slots *= 4) {
        struct batch *b = make_batch_of(&odd, 13, 11, slots);
        compare_with_differences(b, 0.6);
        free_batch(b);
    }
}

static void training_gradients_of_every_activation_are_central_differences(void **state)
{
    (void)state;
    for (int slots = 1; slots <= 4; slots *= 4) {
        struct batch *b = make_batch_of(&active, 10, 11, slots);
        compare_with_differences(b, 0.8);
        free_batch(b);
    }
}

static void training_gradients_of_branches_are_central_differences(void **state)
{
    (void)state;
    for (int slots = 1; slots <= 4; slots *= 4) {
        struct batch *b = make_batch_of(&branching, 10, 11, slots);
        compare_with_differences(b, 0.8);
        free_batch(b);
    }
}

static void training_gradients_of_any_convolution_are_central_differences(void **state)
{
    (void)state;
    struct batch *b = make_batch_of(&forms, 10, 11, 4);
    compare_with_differences(b, 0.8);
    free_batch(b);
}

static void training_gradients_of_padded_pools_are_central_differences(void **state)
{
    (void)state;
    struct batch *b = make_batch_of(&padded, 10, 11, 4);
    compare_with_differences(b, 0.8);
    free_batch(b);
}

static void slots_change_no_more_than_rounding(void **state)
{
    (void)state;
    struct batch *one = make_batch(1), *four = make_batch(4);
    assert_true(fabs(batch_loss(one, NULL) - batch_loss(four, NULL)) < 1e-6);
    assert_close(one->net.parameters, fs_backprop_gradient(four->backprop), fs_backprop_gradient(one->backprop), 1e-5);
    assert_close(one->net.statistics, four->net.statistic, one->net.statistic, 1e-6);
    free_batch(one);
    free_batch(four);
}

/* What the hook has seen. */
struct seen {
    int layers[8], count;
    double sum;
};

static void see(void *context, int layer, int images, const float *features)
{
    struct seen *seen = context;
    seen->layers[seen->count++] = layer;
    seen->sum += features[0] * images;
}

static void inference_visits_every_layer_and_stops_where_it_is_told(void **state)
{
    (void)state;
    struct batch *b = make_batch(1);
    struct seen all = {0}, first = {0};
    fs_workspace space;
    assert_int_equal(fs_workspace_create(&b->net, BATCH, FS_FOR_PROBES, &space), FS_OK);
    fs_network_infer(&b->net, BATCH, fs_backprop_input(b->backprop), 0, see, &all, &space);
    assert_true(all.count == 3 && all.layers[0] == 1 && all.layers[1] == 2 && all.layers[2] == 3);
    const float *map = fs_network_infer(&b->net, BATCH, fs_backprop_input(b->backprop), 1, see, &first, &space);
    assert_true(first.count == 1 && first.layers[0] == 1 && first.sum == map[0] * BATCH);
    fs_workspace_free(&space);
    free_batch(b);
}

/* With the batch's own mean and (biased) variance as running statistics, inference is what training computes. */
static void compare_inference(struct batch *b)
{
    for (int run = 0; run < 300; run++) /* running = 0.9 running + 0.1 batch converges */
        batch_loss(b, NULL);
    for (int i = 0; i < b->net.ops; i++) {
        const fs_op *op = &b->net.op[i];
        double rows = (double)BATCH * op->height * op->width;
        if (op->statistics)
            for (int c = 0; c < op->channels; c++)
                b->net.statistic[op->statistic + op->channels + c] *= (float)((rows - 1) / rows);
    }
    fs_workspace space;
    int right;
    assert_int_equal(fs_workspace_create(&b->net, BATCH, FS_FOR_PROBES, &space), FS_OK);
    const float *logits = fs_network_infer(&b->net, BATCH, fs_backprop_input(b->backprop), 0, NULL, NULL, &space);
    double loss = fs_softmax_loss(BATCH, 5, logits, fs_backprop_label(b->backprop), 0, 1, NULL, &right) / BATCH;
    assert_true(fabs(loss - batch_loss(b, NULL)) < 1e-5);
    fs_workspace_free(&space);
    free_batch(b);
}

static void inference_agrees_with_training_when_the_statistics_do(void **state)
{
    (void)state;
    compare_inference(make_batch(1));
    compare_inference(make_batch_of(&odd, 13, 11, 1));
    compare_inference(make_batch_of(&active, 10, 11, 1));
    compare_inference(make_batch_of(&branching, 10, 11, 1));
    compare_inference(make_batch_of(&forms, 10, 11, 1));
    compare_inference(make_batch_of(&padded, 10, 11, 1));
}

/* Maps that the cache cannot hold: a few images at a time go through the steps, which nobody can tell from the results. */
static void bands_of_images_do_not_show(void **state)
{
    (void)state;
    static const char text[] = "conv 32 3x3 pad 1\nbn\nsilu as a\nconv 32 1x1\nbn\nadd a\nrelu6 as b\nconv 64 1x1 stride 2\n"
                               "conv 64 3x3 stride 2 pad 1 groups 64\nbn\nrelu as c\nglobalavg\nconv 64 1x1\nsigmoid\n"
                               "scale c\nconv 96 1x1\nglobalavg\nfc K";
    enum { EDGE = 90, IMAGES = 5, LABELS = 3, FLOATS = EDGE * EDGE * 3 };
    fs_network net;
    const fs_arch arch = {.name = "large", .text = text};
    assert_int_equal(fs_network_create(&arch, EDGE, EDGE, 3, LABELS, 1, &net), FS_OK);
    float *x = random_floats(1, IMAGES * FLOATS), logits[2][IMAGES * LABELS];
    for (fs_use use = FS_FOR_ANSWERS; use <= FS_FOR_PROBES; use++) {
        fs_workspace space, one;
        assert_int_equal(fs_workspace_create(&net, IMAGES, use, &space), FS_OK);
        assert_int_equal(fs_workspace_create(&net, 1, use, &one), FS_OK);
        assert_true(use == FS_FOR_PROBES || (space.band[0].images == 1 && space.band[0].last > 1));
        memcpy(logits[use], fs_network_infer(&net, IMAGES, x, 0, NULL, NULL, &space), sizeof logits[use]);
        for (int n = 0; n < IMAGES; n++)
            assert_close(LABELS, fs_network_infer(&net, 1, x + n * FLOATS, 0, NULL, NULL, &one), logits[use] + n * LABELS,
                         1e-6);
        fs_workspace_free(&space);
        fs_workspace_free(&one);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    free(x);
    fs_network_free(&net);
}

/* Where weights are many, a batch of any size goes through at once: they are read for each band. */
static void bands_are_whole_batches_where_weights_are_many(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(fs_network_create(fs_arch_find("vgg16-fc1"), 32, 32, 3, 10, 1, &net), FS_OK);
    for (int images = 8; images <= 128; images += 6) {
        fs_workspace space;
        assert_int_equal(fs_workspace_create(&net, images, FS_FOR_ANSWERS, &space), FS_OK);
        assert_true(space.band[0].images < 8);
        const fs_band *last = &space.band[space.bands - 1];
        assert_true(last->images == images && fs_op_outputs(space.step[last->first].last) >= 4 * 4 * 512);
        fs_workspace_free(&space);
    }
    fs_network_free(&net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_architectures_have_the_maps_of_the_method),
        cmocka_unit_test(the_other_architectures_have_the_published_numbers_of_parameters),
        cmocka_unit_test(vgg16_has_the_known_multiply_adds_and_probe_points),
        cmocka_unit_test(an_unknown_architecture_and_an_impossible_pool_are_refused_by_name),
        cmocka_unit_test(a_weight_that_is_not_finite_is_named),
        cmocka_unit_test(training_gradients_are_central_differences_for_any_slots),
        cmocka_unit_test(training_gradients_of_an_unusual_network_are_central_differences),
        cmocka_unit_test(training_gradients_of_every_activation_are_central_differences),
        cmocka_unit_test(training_gradients_of_branches_are_central_differences),
        cmocka_unit_test(training_gradients_of_any_convolution_are_central_differences),
        cmocka_unit_test(training_gradients_of_padded_pools_are_central_differences),
        cmocka_unit_test(slots_change_no_more_than_rounding),
        cmocka_unit_test(inference_visits_every_layer_and_stops_where_it_is_told),
        cmocka_unit_test(inference_agrees_with_training_when_the_statistics_do),
        cmocka_unit_test(bands_of_images_do_not_show),
        cmocka_unit_test(bands_are_whole_batches_where_weights_are_many),
    };
    MPI_Init(&argc, &argv);
    int failed = cmocka_run_group_tests_name("network", tests, NULL, NULL);
    MPI_Finalize();
    return failed;
}
