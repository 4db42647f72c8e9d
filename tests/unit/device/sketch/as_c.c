#define sketch_setup sketch_setup_c
#define streamPort streamPortC
#include "sketch.inc"
