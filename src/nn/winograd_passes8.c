/* For CPUs whose registers hold 8 floats: a tile of wider vectors would not stay in them. */
#define LANES 8
#include "nn/winograd_passes_body.h"
#include "nn/winograd_weights_body.h"

const fs_winograd_passes fs_winograd_passes8 = {LANES, inputs_of, gradients_of, outputs_of, weights_of, weights_back_of};
