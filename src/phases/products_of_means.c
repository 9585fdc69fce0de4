#define NUMBER double
#define VECTOR 4
#define ROWS 4
#define TO_NUMBERS(weight) __builtin_convertvector(weight, vector)
#include "phases/products_body.h"

void fs_products_of_means(const fs_products *p, const double *map, const float *weight, double *h)
{
    sum_products(p, map, weight, h);
}
