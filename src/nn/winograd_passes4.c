/* For CPUs whose registers hold 4 floats. */
#define LANES 4
#include "nn/winograd_passes_body.h"
#include "nn/winograd_weights_body.h"

const fs_winograd_passes fs_winograd_passes4 = {LANES, inputs_of, gradients_of, outputs_of, weights_of, weights_back_of};
