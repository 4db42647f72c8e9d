#define sketch_setup sketch_setup_cpp
#define streamPort streamPortCpp
extern "C" void sketch_setup_cpp(void);
#include "sketch.inc"
