/* read_ahead_none.c - cmx_port_read_ahead for programs without port/linux/libc/read_ahead.c: does nothing. The linker
 * takes this file from the archive only if the program does not define the function. */
#include "cmxsafe/port/port.h"

void cmx_port_read_ahead(int fd)
{
    (void)fd;
}
