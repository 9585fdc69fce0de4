#define NUMBER float
#define VECTOR 8
#define ROWS 4
#define TO_NUMBERS(weight) (weight)
#include "phases/products_body.h"

void fs_products_of_images(const fs_products *p, const float *map, const float *weight, float *h)
{
    sum_products(p, map, weight, h);
}
