/* For CPUs whose registers hold 16 floats. */
#define LANES 16
#include "nn/winograd_passes_body.h"
#include "nn/winograd_weights_body.h"

const fs_winograd_passes fs_winograd_passes16 = {LANES, inputs_of, gradients_of, outputs_of, weights_of, weights_back_of};
