// The kernels without any instruction set asked for: what the compiler's default target has.
#include "job.h"

#define JAXRNN_ISA portable
#define JAXRNN_BYTES 16
#include "kernels.h"
