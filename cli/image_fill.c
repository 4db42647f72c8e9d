/* image_fill.c - `cmxsafe image fill`: appends keyed, incompressible filler to an image, so that free flash has no room
 * for a copy of the expected content. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/common/output_file.h"
#include "cli/image_tool.h"
#include "cmxsafe/core/why.h"
#include "gateway/verify/manifest.h"
#include "gateway/verify/reference.h"
#include "port/linux/cli.h"

static const char about[] =
    "Writes IMAGE to OUTPUT, followed by filler up to --end, the end of the flash or of the partition. Flash OUTPUT at "
    "--at. The "
    "key must be secret and must not be the device's own: anyone with the key can compute the filler.";

struct job {
    const char *key_path;
    uint64_t at, end;
    const uint8_t *image, *key;
    size_t image_len, key_len;
};

static cmx_err write_filler(const struct job *j, FILE *f)
{
    uint8_t piece[4096];

    for (uint64_t at = j->at + j->image_len; at < j->end;) {
        size_t n = j->end - at < sizeof piece ? (size_t)(j->end - at) : sizeof piece;
        cmx_err err = cmx_fill(j->key, j->key_len, (uint32_t)at, piece, n);

        if (err)
            return err;
        if (fwrite(piece, 1, n, f) != n)
            return CMX_EIO;
        at += n;
    }
    return CMX_OK;
}

static int write_output(const struct job *j, const char *path)
{
    struct cmx_new_file to;
    cmx_err err = CMX_OK;

    if (output_file_open(&to, path, j->key_path))
        return CLI_FAILED;
    if (fwrite(j->image, 1, j->image_len, to.f) == j->image_len)
        err = write_filler(j, to.f);
    if (cmx_new_file_close(&to, err == CMX_OK) || err == CMX_EIO)
        return cli_fail(path, strerror(errno), NULL);
    if (!err)
        return CLI_OK;
    return err == CMX_EINVAL
               ? cli_fail(j->key_path, "has less than 16 bytes", "make one with: openssl rand -out fill.key 32")
               : cli_fail(path, cmx_err_text(err), NULL);
}

static int fill(struct job *j, const char *image, const char *output)
{
    struct cmx_why why = {""};
    int rc;

    if (reference_map(j->key_path, &j->key, &j->key_len, &why))
        return cli_fail(j->key_path, why.text, "make one with: openssl rand -out fill.key 32");
    if (reference_map(image, &j->image, &j->image_len, &why))
        return cli_fail(image, why.text, NULL);
    if (j->at + j->image_len > j->end)
        rc = cli_fail(image, "is longer than the space up to --end", NULL);
    else
        rc = write_output(j, output);
    reference_unmap(j->image, j->image_len);
    reference_unmap(j->key, j->key_len);
    return rc;
}

int image_fill(int argc, char **argv)
{
    struct job j = {.at = 0x10000, .end = 0x400000};
    const struct cli_option options[] = {
        CLI_TEXT("key", "FILE", "16 bytes or more, made with: openssl rand -out fill.key 32", &j.key_path,
                 .required = true),
        CLI_NUMBER("at", "OFFSET", 0, UINT32_MAX, "the offset in flash at which IMAGE begins", &j.at, .hex = true),
        CLI_NUMBER("end", "OFFSET", 0, UINT32_MAX, "where the filler ends", &j.end, .hex = true),
    };
    struct cli_line line = CLI_LINE("cmxsafe image fill", "IMAGE OUTPUT", about, 2, 2, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    return fill(&j, line.operand[0], line.operand[1]);
}
