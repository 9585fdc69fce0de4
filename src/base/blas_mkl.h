#include <mkl_cblas.h>
