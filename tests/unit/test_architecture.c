/* Architectures as text: what is read, what is refused and where, files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "filterscope/network.h"
#include "support.h"

static fs_status build(const char *text, int height, int width, int labels, fs_network *net)
{
    fs_arch arch = {.name = "mine", .text = text};
    return fs_network_create(&arch, height, width, 3, labels, 1, net);
}

static void a_text_becomes_operations_with_their_shapes(void **state)
{
    (void)state;
    fs_network net;
    const char *text = "input 33x30x3\n\n# two convolutions\nconv 8  5x5 stride 2\t bias\nrelu\nmaxpool 3 stride 2 pad 1\n"
                       "dropout 0.5\nconv K 3\nbn\nglobalavg";
    assert_int_equal(build(text, 33, 30, 7, &net), FS_OK);
    assert_string_equal(net.text,
                        "input 33x30x3\nconv 8 5x5 stride 2 bias\nrelu\nmaxpool 3 stride 2 pad 1\ndropout 0.5\nconv K 3\n"
                        "bn\nglobalavg\n");
    assert_true(net.ops == 6 && net.layers == 2 && net.dropouts == 1);
    const fs_op *conv = &net.op[0], *pool = &net.op[2], *second = &net.op[3], *global = &net.op[5];
    assert_true(conv->out_height == 15 && conv->out_width == 13 && conv->biases == 8 && conv->line == 2);
    assert_true(pool->kind->pools && !pool->plain && pool->out_height == 8 && pool->out_width == 7 && pool->probed &&
                pool->layer == 1);
    assert_true(second->kernel.height == 3 && second->pad.height == 0 && second->biases == 0 && second->out_channels == 7);
    assert_true(!global->plain && global->out_height == 1 && global->out_width == 1 && global->probed);
    assert_true(net.parameters == 75 * 8 + 8 + 72 * 7 + 14 && net.conv_parameters == net.parameters);
    assert_true(fs_network_macs(&net, 0) == 600.0 * 15 * 13 + 504.0 * 6 * 5);
    fs_network_free(&net);
}

static void the_same_layers_have_the_same_fingerprint(void **state)
{
    (void)state;
    uint32_t first, again, other;
    fs_network net;
    assert_int_equal(fs_arch_fingerprint(&(fs_arch){"a", "conv 3 3x3\nfc K\n", {0}}, &first), FS_OK);
    assert_int_equal(fs_arch_fingerprint(&(fs_arch){"b", "# mine\n\n conv  3 3x3 # one\nfc\tK", {0}}, &again), FS_OK);
    assert_int_equal(fs_arch_fingerprint(&(fs_arch){"a", "conv 3 3x3\nfc K bias\n", {0}}, &other), FS_OK);
    assert_true(first == again && first != other);
    assert_int_equal(build("conv 3 3x3\nfc K", 8, 8, 2, &net), FS_OK);
    assert_true(fs_network_fingerprint(&net) == first);
    fs_network_free(&net);
}

static void a_pool_that_leaves_a_rest_wants_floor(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(build("conv 3 3x3 pad 1\nmaxpool 2\nfc K", 7, 7, 2, &net), FS_USAGE);
    assert_non_null(
        strstr(fs_message(), "mine: line 2: 'maxpool 2': a 2x2 pool does not divide the 7x7 map after convolution 1"));
    assert_int_equal(build("conv 3 3x3 pad 1\nmaxpool 2 floor\nfc K", 7, 7, 2, &net), FS_OK);
    assert_true(!net.op[1].plain && net.op[1].out_height == 3);
    fs_network_free(&net);
    assert_int_equal(build("conv 3 3x3 pad 1\nmaxpool 2 ceil\nfc K", 7, 7, 2, &net), FS_OK);
    assert_true(!net.op[1].plain && net.op[1].out_height == 4);
    fs_network_free(&net);
    assert_int_equal(build("conv 3 3x3 pad 1\nmaxpool 2 floor\nfc K", 8, 8, 2, &net), FS_OK);
    assert_true(net.op[1].plain && net.op[1].kernel.height == 2);
    fs_network_free(&net);
}

/* Pools that PyTorch and Caffe take for different networks. Heights and widths are PyTorch's, without and with ceil_mode. */
static void a_pool_of_any_stride_that_leaves_a_rest_wants_floor_or_ceil(void **state)
{
    (void)state;
    static const struct {
        const char *pool;
        int size, floor, ceil;
    } pools[] = {
        {"3 stride 2", 32, 15, 16}, {"3 stride 2", 33, 16, 16},    {"3 stride 2 pad 1", 32, 16, 17}, {"3 pad 1", 8, 3, 3},
        {"2 pad 1", 7, 4, 4},       {"3 stride 5 pad 1", 8, 2, 2}, {"3 stride 5 pad 1", 10, 2, 3},   {"2 stride 3", 9, 3, 3},
        {"2 stride 3", 10, 3, 4},   {"5 stride 3 pad 2", 9, 3, 4}, {"9 stride 4", 9, 1, 1},          {"8 stride 7", 9, 1, 2},
    };
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        for (int form = 0; form < 8;
             form++) { /* none, floor, ceil, the text of an older model file; each with max and average */
            static const char *const words[] = {"", " floor", " ceil", ""};
            char text[100];
            fs_network net;
            snprintf(text, sizeof text, "conv 2 1x1\n%s %s%s\nfc K", form < 4 ? "maxpool" : "avgpool", pools[i].pool,
                     words[form % 4]);
            fs_arch arch = {.name = "mine", .text = text, .silent_floor = form % 4 == 3};
            fs_status status = fs_network_create(&arch, pools[i].size, pools[i].size, 3, 2, 1, &net);
            if (form % 4 == 0 && pools[i].floor != pools[i].ceil) {
                assert_int_equal(status, FS_USAGE);
                assert_non_null(strstr(fs_message(), "'floor' leaves the rest out, 'ceil' gives it a window"));
                continue;
            }
            assert_int_equal(status, FS_OK);
            assert_int_equal(net.op[1].out_height, form % 4 == 2 ? pools[i].ceil : pools[i].floor);
            assert_int_equal(net.op[1].out_width, net.op[1].out_height);
            fs_network_free(&net);
        }
}

/* Of x[i] = 7i mod 31, height 5, width 6: PyTorch 1.13's max_pool2d and avg_pool2d with ceil_mode=True, then also with
 * count_include_pad=False, then behind pad(); TensorFlow 2.16's with "SAME". */
static void padded_pools_are_what_pytorch_and_tensorflow_print(void **state)
{
    (void)state;
    static const struct {
        const char *pool;
        int count;
        float max[30], average[30];
    } expected[] = {
        {"2x2 pad 1 ceil",
         12,
         {0, 14, 28, 4, 22, 29, 19, 26, 13, 27, 30, 17},
         {0, 5.25f, 12.25f, 1, 8.25f, 19.25f, 10, 10.25f, 3.75f, 18, 16.5f, 5.75f}},
        {"3x3 stride 2 ceil",
         6,
         {29, 28, 28, 29, 30, 30},
         {14.5555553f, 14.7777777f, 16.666666f, 15.8888893f, 16.1111107f, 18}},
        {"3x2 stride 2x3 pad 1x0 ceil", 6, {18, 28, 29, 30, 20, 30}, {6, 9.66666698f, 15.166667f, 15.5f, 7.33333349f, 11}},
        {"3x3 stride 2 pad 1 ceil inside",
         12,
         {18, 25, 28, 15, 29, 29, 30, 26, 20, 27, 30, 17},
         {9, 14.333333f, 12.833333f, 9.5f, 15.166667f, 15.333333f, 15.5555553f, 15.666667f, 11, 16.333334f, 14.833333f, 11.5f}},
        {"3x3 stride 2 pad 1x0x0x2 floor",
         6,
         {25, 28, 28, 29, 30, 30},
         {8.33333302f, 10.7777777f, 6.11111116f, 15.2222223f, 15.4444447f, 11.5555553f}},
        {"2 stride 1 pad same",
         30,
         {18, 25, 25, 28, 28, 15, 29, 29, 25, 19, 26, 26, 29, 29, 23,
          30, 30, 26, 20, 27, 27, 30, 30, 17, 20, 27, 27, 10, 17, 17},
         {9,  16,     15.25f, 14.5f, 13.75f, 9.5f,   20,    19.25f, 10.75f, 10,    17,    20.5f, 15.5f, 14.75f, 14,
          21, 20.25f, 16,     11,    18,     17.25f, 16.5f, 15.75f, 11.5f,  16.5f, 23.5f, 15,    6.5f,  13.5f,  17}},
        {"3x3 stride 2 pad same",
         9,
         {25, 28, 28, 29, 30, 30, 27, 30, 30},
         {12.5f, 16.166666f, 13.75f, 15.2222223f, 15.4444447f, 17.333334f, 14.5f, 18.166666f, 15.75f}},
        {"2x4 stride 3x1 pad same",
         12,
         {25, 25, 28, 28, 28, 28, 27, 27, 30, 30, 30, 30},
         {12.5f, 12.125f, 15.25f, 14.5f, 12.833333f, 13.75f, 14.5f, 14.125f, 17.25f, 16.5f, 14.833333f, 15.75f}},
    };
    float x[30];
    for (int i = 0; i < 30; i++)
        x[i] = (float)(7 * i % 31);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        for (int average = 0; average < 2; average++) {
            char text[100];
            fs_network net;
            float y[30];
            int words = (int)strlen(expected[i].pool), inside = !average && strstr(expected[i].pool, " inside");
            snprintf(text, sizeof text, "conv 1 1x1\n%spool %.*s\nfc K", average ? "avg" : "max", words - (inside ? 7 : 0),
                     expected[i].pool);
            assert_int_equal(build(text, 5, 6, 2, &net), FS_OK);
            const fs_step step = {.op = &net.op[1]};
            const fs_pass pass = {.step = &step, .images = 1, .x = {x}, .y = y};
            assert_int_equal(fs_op_outputs(&net.op[1]), expected[i].count);
            net.op[1].kind->forward(&pass);
            assert_close((size_t)expected[i].count, y, average ? expected[i].average : expected[i].max, 2e-7);
            fs_network_free(&net);
        }
}

/* As TensorFlow pads: nothing where the window fits, and what is odd below and on the right. */
static void windows_of_any_form_have_their_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *conv;
        int height, width, weights, top, bottom, left, right;
    } convs[] = {
        {"4 3x3 stride 2 pad same", 6, 5, 108, 0, 1, 1, 1},
        {"4 2x5 pad same", 12, 9, 120, 0, 1, 2, 2},
        {"4 1x1 stride 3 pad same", 4, 3, 12, 0, 0, 0, 0},
        {"6 3x3 pad 1 groups 3", 12, 9, 54, 1, 1, 1, 1},
        {"4 1x7 pad 0x3", 12, 9, 84, 0, 0, 3, 3},
        {"4 3x3 dilation 2x3 pad 2x3", 12, 9, 108, 2, 2, 3, 3},
        {"4 3x3 pad 0x1x2x3 stride 1x2", 11, 6, 108, 0, 1, 2, 3},
    };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        char text[100];
        fs_network net;
        snprintf(text, sizeof text, "conv %s\nfc K", convs[i].conv);
        assert_int_equal(build(text, 12, 9, 2, &net), FS_OK);
        const fs_op *op = net.op;
        assert_true(op->out_height == convs[i].height && op->out_width == convs[i].width &&
                    op->weights == (size_t)convs[i].weights && op->pad.height == convs[i].top &&
                    op->pad_end.height == convs[i].bottom && op->pad.width == convs[i].left &&
                    op->pad_end.width == convs[i].right);
        fs_network_free(&net);
    }
}

static void padding_of_any_width_is_taken(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(build("conv 3 1x1 pad 1\nconv 2 2x2 stride 5 pad 9\nglobalavg", 8, 8, 2, &net), FS_OK);
    assert_true(net.op[0].out_height == 10 && net.op[1].out_height == 6);
    fs_network_free(&net);
}

static void what_is_wrong_is_named_with_line_and_word(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "mine: has no conv"},
        {"# nothing\n", "mine: has no conv"},
        {"conv 3 3x3\n\nconf 3\n", "mine: line 3: 'conf' is no layer; there are: input conv bn"},
        {"conv\n", "line 1: 'conv' wants its number of filters, or K"},
        {"conv x 3x3\n", "line 1: 'x' of 'conv' is no number of filters"},
        {"conv 0 3x3\n", "line 1: '0' of 'conv'"},
        {"conv 99999999999999999999 3x3\n", "line 1: '99999999999999999999' of 'conv'"},
        {"conv 3\n", "line 1: 'conv' wants size"},
        {"conv 3 3x\n", "line 1: '3x' is no size"},
        {"conv 3 -3\n", "line 1: '-3' is no size"},
        {"conv 3 3x3 stride 0\n", "line 1: '0' is no stride"},
        {"conv 3 3x3 stride\n", "line 1: 'conv' wants stride"},
        {"conv 3 3x3 pad -1\n", "line 1: '-1' is no pad"},
        {"conv 3 3x3 pad 4097\n", "line 1: '4097' is no pad"},
        {"conv 1000 1x1 pad 4096\n", "line 1: 'conv 1000 1x1 pad 4096': a map of 8200x8200x1000 is too large"},
        {"conv 1000 3x3\nconv 3 4096 pad 4096\n", "line 2: 'conv 3 4096 pad 4096': a window of 4096x4096x1000 is too large"},
        {"conv 3 3x3\nmaxpool 2 floor ceil\n", "line 2: both 'floor' and 'ceil'"},
        {"conv 3 3x3\nmaxpool 3 stride 2\n",
         "line 2: 'maxpool 3 stride 2': a 3x3 pool of stride 2x2 does not divide the 6x6 map"},
        {"conv 4 3x9\n", "line 1: 'conv 4 3x9': a 3x9 kernel on a 8x8 map"},
        {"conv 4 3x3 dilation 4\n", "line 1: 'conv 4 3x3 dilation 4': a 9x9 kernel on a 8x8 map"},
        {"conv 4 3x3 dilation 0\n", "line 1: '0' is no dilation"},
        {"conv 4 3x3 groups 2\n", "line 1: 'conv 4 3x3 groups 2': 2 groups do not divide 3 channels and 4 filters"},
        {"conv 4 3x3 groups 3\n", "3 groups do not divide 3 channels and 4 filters"},
        {"conv 4 3x3 groups 0\n", "line 1: '0' is no number of groups in 1 .."},
        {"conv 4 3x3 groups\n", "line 1: '' is no number of groups"},
        {"conv 4 3x3 pad 1x2x3\n", "line 1: '1x2x3' is no pad: expected N, HEIGHTxWIDTH or TOPxBOTTOMxLEFTxRIGHT"},
        {"conv 4 3x3 pad half\n", "line 1: 'half' is no pad"},
        {"conv 3 3x3 biased\n", "line 1: unexpected 'biased' after '3x3'"},
        {"conv 3 3x3 1 2\n", "line 1: unexpected '1' after '3x3'"},
        {"conv 3 3x3 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 "
         "38\n",
         "is too long for a layer"},
        {"conv 3 3x3 as\n", "line 1: unexpected 'as' after '3x3'"},
        {"conv 3 3x3 as 3\n", "line 1: '3' is no name"},
        {"conv 3 3x3 as here\n", "line 1: 'here' is no name"},
        {"conv 3 3x3 as a/b\n", "line 1: 'a/b' is no name"},
        {"conv 3 3x3 as a123456789012345678901234567890x\n", "line 1: 'a123456789012345678901234567890x' is no name"},
        {"conv 3 3x3 as a\nrelu as a\n", "line 2: 'relu as a': another line is named 'a'"},
        {"conv 3 3x3 as a\nrelu\nadd b\n", "line 3: 'add b': no line above is named 'b'"},
        {"conv 3 3x3 as a\nadd a\n", "line 2: 'add a': 'here' and 'a' are the same map"},
        {"conv 3 3x3 as a\nrelu\nadd\n", "line 3: 'add' wants the name of a map"},
        {"conv 3 3x3 as a\nrelu\nadd a a\n", "line 3: 'add a a': 'a' and 'a' are the same map"},
        {"conv 3 3x3 as a\nconv 4 3x3 pad 1\nadd a\n", "line 3: 'add a': 'a' is 6x6x3, 'here' is 6x6x4"},
        {"conv 3 3x3 as a\nconv 3 3x3\nadd a\n", "line 3: 'add a': 'a' is 6x6x3, 'here' is 4x4x3"},
        {"conv 3 3x3 as a\nconv 3 3x3\nconcat here a\n", "line 3: 'concat here a': 'a' is 6x6x3, 'here' is 4x4x3"},
        {"conv 3 3x3 as a\nconcat a\n", "line 2: 'concat' wants the name of a map"},
        {"conv 3 3x3 as a\nmaxpool 2\nscale a\n", "line 3: 'scale a': 'a' is 6x6x3, 'here' is 3x3x3"},
        {"conv 3 3x3 as a\nglobalavg\nconv 4 1x1\nscale a\n", "line 4: 'scale a': 'a' is 6x6x3, 'here' is 1x1x4"},
        {"conv 3 3x3 as a\nrelu\nscale a a\n", "line 3: unexpected 'a' after 'a'"},
        {"conv 3 3x3 as a\nfrom\n", "line 2: 'from' wants the name of a map"},
        {"conv 3 3x3 as a\nfrom b\n", "line 2: 'from b': no line above is named 'b'"},
        {"conv 3 3x3 as a\nfrom a b\n", "line 2: unexpected 'b' after 'a'"},
        {"conv 3 3x3 as a\n\nrelu\nfrom a\nfc K\n", "mine: line 3: 'relu': nothing uses its map"},
        {"conv 3 3x3 as a\nconv 3 3x3 pad 1 as b\nfrom a\nfc K\n", "line 2: 'conv 3 3x3 pad 1 as b': nothing uses its map"},
        {"conv 3 3x3 as a\nflatten\nfc 3\nscale a\nfc 3\nconcat a here\n",
         "line 6: 'concat a here': 'here' is 1x1x3, 'a' is 6x6x3"},
        {"conv 3 3x3 probe\nrelu probe\nfc K\n", "line 2: 'relu probe': the probe of layer 1 is on line 1"},
        {"conv 3 3x3\nfc K probe\n", "line 2: 'fc K probe': a probe sees maps or hidden units, not what the last fc gives"},
        {"conv 3 3x3\nfc 4 probe\nrelu probe\nfc K\n", "line 3: 'relu probe': the probe of layer 2 is on line 2"},
        {"conv 3 3x3 as a\nfrom a probe\n", "line 2: 'from a probe': 'probe' belongs to a line that computes"},
        {"conv 3 9x9\n", "mine: line 1: 'conv 3 9x9': a 9x9 kernel on a 8x8 map"},
        {"relu\n", "line 1: 'relu': the first layer must be a conv"},
        {"conv 3 3x3\nleakyrelu\n", "line 2: 'leakyrelu' wants its slope below 0"},
        {"conv 3 3x3\nleakyrelu 1.5\n", "line 2: '1.5' of 'leakyrelu' is no slope below 0 in 0 .. 1"},
        {"conv 3 3x3\nleakyrelu nan\n", "line 2: 'nan' of 'leakyrelu' is no slope"},
        {"conv 3 3x3\nelu 1x\n", "line 2: '1x' of 'elu' is no scale below 0 in 0 .. 1000"},
        {"conv 3 3x3\ntanh 1\n", "line 2: unexpected '1' after 'tanh'"},
        {"conv 3 3x3\nbn 3\n", "line 2: unexpected '3' after 'bn'"},
        {"conv 3 3x3\nmaxpool\n", "line 2: 'maxpool' wants size"},
        {"conv 3 3x3\nmaxpool 2 pad 2\n", "line 2: pad 2x2x2x2 of a 2x2 pool: less than its size"},
        {"conv 3 3x3\navgpool 3x2 pad 0x0x0x2\n", "line 2: pad 0x0x0x2 of a 3x2 pool: less than its size"},
        {"conv 3 3x3\nmaxpool 2 pad 1x2x3\n", "line 2: '1x2x3' is no pad"},
        {"conv 3 3x3\nmaxpool 2 pad valid\n", "line 2: 'valid' is no pad"},
        {"conv 3 3x3\nmaxpool 2 inside\n", "line 2: unexpected 'inside' after '2'"},
        {"conv 3 3x3\nsubsample\n", "line 2: 'subsample' wants stride"},
        {"conv 3 3x3\nsubsample 0\n", "line 2: '0' is no stride"},
        {"conv 3 3x3\nsubsample 2 2\n", "line 2: unexpected '2' after '2'"},
        {"conv 3 3x3\nzeropad 1 1\n", "line 2: 'zeropad' wants 'channels'"},
        {"conv 3 3x3\nzeropad channels 1\n", "line 2: '' is no number of channels"},
        {"conv 3 3x3\nzeropad channels 1 -1\n", "line 2: '-1' is no number of channels"},
        {"conv 3 3x3 pad 2000\nzeropad channels 0 999\n",
         "line 2: 'zeropad channels 0 999': a map of 4006x4006x1002 is too large"},
        {"conv 3 3x3\nfc 3\nsubsample 2\n", "line 3: 'subsample 2': no such layer may follow a flatten or fc"},
        {"subsample 2\n", "line 1: 'subsample 2': the first layer must be a conv"},
        {"conv 3 3x3\nhardsigmoid 0\n", "line 2: '0' of 'hardsigmoid' is no slope in 1e-06 .. 1000"},
        {"conv 3 3x3\navgpool 9 floor\n", "line 2: 'avgpool 9 floor': a 9x9 pool on a 6x6 map"},
        {"conv 3 3x3\ndropout 1.5\n", "line 2: '1.5' of 'dropout'"},
        {"conv 3 3x3\nfc K\nconv 3 3x3\n", "line 3: 'conv 3 3x3': no such layer may follow a flatten or fc"},
        {"conv 3 3x3\nflatten\nglobalavg\n", "line 3: 'globalavg': no such layer may follow"},
        {"conv 3 3x3\nflatten\nbn\nfc K\n", "line 3: 'bn': normalises channels"},
        {"conv 3 3x3\nfc 3\n", "line 2: 'fc 3': the last map is 1x1x3, for 2 labels it must be 1x1x2"},
        {"conv K 3x3\n", "line 1: 'conv K 3x3': the last map is 6x6x2"},
        {"input 8x8\nconv 3 3x3\nfc K\n", "line 1: '8x8' is no HEIGHTxWIDTHxCHANNELS"},
        {"input 9x8x3\nconv 3 3x3\nfc K\n", "line 1: 'input 9x8x3': the images are 8x8x3"},
        {"conv 3 3x3\ninput 8x8x3\n", "line 2: 'input 8x8x3': the input comes before all layers"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fs_network net;
        assert_int_equal(build(bad[i].text, 8, 8, 2, &net), FS_USAGE);
        if (!strstr(fs_message(), bad[i].message))
            fail_msg("'%s': '%s', expected '%s'", bad[i].text, fs_message(), bad[i].message);
        assert_null(net.op);
    }
}

/* An editor's byte order mark is no layer, and a name of any bytes becomes one that every reader of a model file takes. */
static void a_byte_order_mark_is_left_out_and_a_name_is_utf8(void **state)
{
    (void)state;
    char path[] = "/tmp/filterscope-n\xe4t-XXXXXX";
    int file = mkstemp(path);
    fs_arch arch;
    assert_int_equal(write(file,
                           "\xef\xbb\xbf"
                           "conv 3 3x3\n",
                           14),
                     14);
    assert_int_equal(fs_arch_open(path, &arch), FS_OK);
    assert_string_equal(arch.text, "conv 3 3x3\n");
    assert_memory_equal(arch.name, "filterscope-n?t-", 16);
    fs_arch_close(&arch);
    assert_int_equal(pwrite(file,
                            "\xff\xfe"
                            "c\0",
                            4, 0),
                     4);
    assert_int_equal(fs_arch_open(path, &arch), FS_ERROR);
    assert_non_null(strstr(fs_message(), "its byte order mark says UTF-16: save it as UTF-8"));
    close(file);
    unlink(path);
}

/* A residual block with a convolution on its shortcut, a squeeze-and-excite, a concat, and what is probed without a mark. */
static const char residual[] =
    "conv 4 3x3 pad 1\nbn\nrelu as a\nconv 6 3x3 stride 2 pad 1\nbn\nrelu\nconv 6 3x3 pad 1\nbn as b\n"
    "from a\nconv 6 1x1 stride 2\nadd b\nrelu as c\nglobalavg\nconv 6 1x1 bias\nsigmoid\nscale c\n"
    "relu as d\nconv 2 3x3 pad 1\nconcat d here\nglobalavg\nfc K\n";

static void a_text_becomes_a_graph(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(build(residual, 8, 8, 2, &net), FS_OK);
    const fs_op *relu = &net.op[2], *add = &net.op[9], *scale = &net.op[14], *concat = &net.op[17];
    assert_string_equal(add->kind->word, "add");
    assert_true(relu->readers == 2 && add->inputs == 2 && add->input[0] == &net.op[8] && add->input[1] == &net.op[7]);
    assert_true(scale->input[0] == &net.op[13] && scale->input[1] == &net.op[10] && scale->out_height == 4);
    assert_true(concat->input[0] == &net.op[15] && concat->out_channels == 8);
    static const int probed[] = {2, 5, 7, -1, 13, 16}; /* the shortcut's convolution is not */
    for (int layer = 1; layer <= net.layers; layer++)
        assert_ptr_equal(fs_network_probed(&net, layer), probed[layer - 1] < 0 ? NULL : &net.op[probed[layer - 1]]);
    fs_network_free(&net);
}

static void marks_say_what_is_probed(void **state)
{
    (void)state;
    fs_network net;
    assert_int_equal(
        build("conv 4 3x3 pad 1 as a\nconv 4 3x3 pad 1\nadd a\nrelu probe\nconv 2 1x1\nglobalavg\n", 8, 8, 2, &net), FS_OK);
    assert_ptr_equal(fs_network_probed(&net, 2), &net.op[3]);
    assert_true(!fs_network_probed(&net, 1) && !fs_network_probed(&net, 3));
    fs_network_free(&net);
}

static void a_file_is_an_architecture_named_as_it_is(void **state)
{
    (void)state;
    char path[] = "/tmp/filterscope-net-XXXXXX.txt", expected[64];
    int file = mkstemps(path, 4);
    fs_arch arch;
    assert_int_equal(write(file, "conv 3 3x3\nfc K\n", 16), 16);
    assert_int_equal(fs_arch_open(path, &arch), FS_OK);
    snprintf(expected, sizeof expected, "%.*s", (int)strlen(path) - 9, path + 5);
    assert_string_equal(arch.name, expected);
    assert_string_equal(arch.text, "conv 3 3x3\nfc K\n");
    assert_true(arch.recipe.epochs == 200);
    fs_arch_close(&arch);
    assert_int_equal(write(file, "\x01", 1), 1);
    assert_int_equal(fs_arch_open(path, &arch), FS_ERROR);
    assert_non_null(strstr(fs_message(), "byte 16 is 0x01: not a text file"));
    assert_int_equal(ftruncate(file, 100000), 0);
    assert_int_equal(fs_arch_open(path, &arch), FS_ERROR);
    assert_non_null(strstr(fs_message(), "larger than"));
    close(file);
    unlink(path);
    assert_int_equal(fs_arch_open(path, &arch), FS_USAGE);
    assert_non_null(strstr(fs_message(), "unknown architecture '"));
    assert_int_equal(fs_arch_open("/tmp", &arch), FS_ERROR);
    assert_int_equal(fs_arch_open("vgg11", &arch), FS_OK);
    assert_true(arch.recipe.epochs == 260);
    fs_arch_close(&arch);
}

static void learning_rates_follow_their_schedule(void **state)
{
    (void)state;
    const fs_group_recipe group = {.lr = 0.1, .lr_decay = 0.5};
    const fs_recipe steps = {.epochs = 60, .decay_every = 20};
    assert_true(fs_recipe_lr(&steps, &group, 0) == 0.1 && fs_recipe_lr(&steps, &group, 19.99) == 0.1);
    assert_true(fs_recipe_lr(&steps, &group, 20) == 0.05 && fs_recipe_lr(&steps, &group, 59.5) == 0.025);
    const fs_recipe cosine = {.epochs = 10, .schedule = FS_COSINE, .warmup = 4},
                    at_once = {.epochs = 10, .schedule = FS_COSINE};
    assert_true(fs_recipe_lr(&cosine, &group, 0) == 0 && fs_recipe_lr(&at_once, &group, 0) == 0.1);
    assert_true(fabs(fs_recipe_lr(&cosine, &group, 3) - 0.075) < 1e-12);
    assert_true(fabs(fs_recipe_lr(&cosine, &group, 4) - 0.1) < 1e-12);
    assert_true(fabs(fs_recipe_lr(&cosine, &group, 7) - 0.05) < 1e-12);
    assert_true(fs_recipe_lr(&cosine, &group, 10) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_becomes_operations_with_their_shapes),
        cmocka_unit_test(the_same_layers_have_the_same_fingerprint),
        cmocka_unit_test(a_pool_that_leaves_a_rest_wants_floor),
        cmocka_unit_test(a_pool_of_any_stride_that_leaves_a_rest_wants_floor_or_ceil),
        cmocka_unit_test(padded_pools_are_what_pytorch_and_tensorflow_print),
        cmocka_unit_test(windows_of_any_form_have_their_shapes),
        cmocka_unit_test(padding_of_any_width_is_taken),
        cmocka_unit_test(what_is_wrong_is_named_with_line_and_word),
        cmocka_unit_test(a_byte_order_mark_is_left_out_and_a_name_is_utf8),
        cmocka_unit_test(a_text_becomes_a_graph),
        cmocka_unit_test(marks_say_what_is_probed),
        cmocka_unit_test(a_file_is_an_architecture_named_as_it_is),
        cmocka_unit_test(learning_rates_follow_their_schedule),
    };
    return cmocka_run_group_tests_name("architecture", tests, NULL, NULL);
}
