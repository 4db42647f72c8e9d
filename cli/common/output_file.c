#include "cli/common/output_file.h"

#include <errno.h>
#include <string.h>

#include "port/linux/cli.h"

int output_file_open(struct cmx_new_file *to, const char *path, const char *key)
{
    if (!cmx_new_file_open(to, path, key))
        return CLI_OK;
    return errno == EEXIST ? cli_fail(path, "is the key", "choose another file")
                           : cli_fail(path, strerror(errno), NULL);
}

int output_file_write(const char *path, const void *data, size_t len, const char *key)
{
    struct cmx_new_file to;

    if (output_file_open(&to, path, key))
        return CLI_FAILED;
    (void)fwrite(data, 1, len, to.f); /* cmx_new_file_close reports a failed write */
    return cmx_new_file_close(&to, true) ? cli_fail(path, strerror(errno), NULL) : CLI_OK;
}
