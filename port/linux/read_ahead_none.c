/* read_ahead_none.c - for programs that are not linked with port/linux/read_ahead: sockets are read as they are asked for.
 * The linker takes this file only where nobody else has the function. */
#include "cmxsafe/port/port.h"

void cmx_port_read_ahead(int fd)
{
    (void)fd;
}
