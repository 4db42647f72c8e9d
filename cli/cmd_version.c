#include <stdio.h>

#include "cli.h"
#include "cmxsafe/version.h"

int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("cmxsafe %s\n", CMX_VERSION);
    return CLI_OK;
}
