#include "cli/common/output_file.h"

#include <errno.h>
#include <string.h>

#include "port/linux/cli.h"

int output_file_open(struct cmx_new_file *to, const char *path, const char *key)
{
    if (cli_output_check(path))
        return CLI_FAILED;
    if (!cmx_new_file_open(to, path, key))
        return CLI_OK;
    return errno == EEXIST ? cli_fail(path, "is the key", "choose another file")
                           : cli_fail(path, strerror(errno), NULL);
}
