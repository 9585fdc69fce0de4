/* Layers on the command line, by their names in the model file: conv7 (or 7), fc1. */
#ifndef FILTERSCOPE_CLI_LAYERS_H
#define FILTERSCOPE_CLI_LAYERS_H

#include <stdint.h>

#include "filterscope/network.h"
#include "filterscope/status.h"

/* Not collective. "all", or pairs as "7-8,conv10-fc1": chosen [net->ops] becomes 1 for the layers behind the first of a pair,
 * up to its second. FS_USAGE names `option` and the word. */
fs_status fs_choose_pairs(const char *option, const char *text, const fs_network *net, uint8_t *chosen);

/* Not collective. A list as "conv7,fc1": chosen [net->ops] becomes 1 for these. FS_USAGE likewise. */
fs_status fs_choose_layers(const char *option, const char *text, const fs_network *net, uint8_t *chosen);

#endif
