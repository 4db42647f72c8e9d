/* image_fill.c - `cmxsafe image fill`: an image followed by keyed, incompressible filler, so that no free flash is left
 * in which a copy of the expected content could hide. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"
#include "cmxsafe/core/text.h"
#include "image.h"
#include "verify/manifest.h"
#include "verify/reference.h"

#define COMMAND "cmxsafe image fill"

static const char help[] =
    "usage: " COMMAND " --key FILE [--at OFFSET] [--end OFFSET] IMAGE OUTPUT\n"
    "\n"
    "Writes IMAGE followed by filler up to the end of the flash (or of the partition: --end), ready to be flashed at "
    "--at.\n"
    "The key must be secret and must NOT be the device's: whoever has it can compute the filler.\n"
    "\n"
    "  --key FILE    16 bytes or more, made with: openssl rand -out fill.key 32\n"
    "  --at OFFSET   where in flash IMAGE begins (default: 0x10000)\n"
    "  --end OFFSET  where the filler ends (default: 0x400000)\n";

struct job {
    const char *key_path;
    uint64_t at, end;
    const uint8_t *image, *key;
    size_t image_len, key_len;
};

static const struct option options[] = {{"key", required_argument, NULL, 'k'},
                                        {"at", required_argument, NULL, 'a'},
                                        {"end", required_argument, NULL, 'e'},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

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
    FILE *f = fopen(path, "wb");
    cmx_err err = CMX_OK;

    if (!f)
        return cli_fail(path, strerror(errno), NULL);
    if (fwrite(j->image, 1, j->image_len, f) != j->image_len)
        err = CMX_EIO;
    if (!err)
        err = write_filler(j, f);
    if (fclose(f) != 0 && !err)
        err = CMX_EIO;
    if (!err)
        return CLI_OK;
    (void)unlink(path); /* half an image is worse than none */
    return err == CMX_EINVAL ? cli_fail(j->key_path, "has less than 16 bytes", "openssl rand -out fill.key 32")
                             : cli_fail(path, cmx_err_text(err), NULL);
}

static int fill(struct job *j, const char *image, const char *output)
{
    char why[128];
    int rc;

    if (reference_map(j->key_path, &j->key, &j->key_len, why, sizeof why))
        return cli_fail(j->key_path, why, "openssl rand -out fill.key 32");
    if (reference_map(image, &j->image, &j->image_len, why, sizeof why))
        return cli_fail(image, why, NULL);
    if (j->at + j->image_len > j->end)
        rc = cli_fail(image, "is longer than the space up to --end", NULL);
    else
        rc = write_output(j, output);
    (void)munmap((void *)(uintptr_t)j->image, j->image_len);
    (void)munmap((void *)(uintptr_t)j->key, j->key_len);
    return rc;
}

int image_fill(int argc, char **argv)
{
    struct job j = {.at = 0x10000, .end = 0x400000};
    int c;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c == '?')
            return cli_usage(COMMAND, "unknown option or missing value: '%s'", argv[optind - 1]);
        if (c == 'k')
            j.key_path = optarg;
        else if (cmx_text_u64(optarg, 0, UINT32_MAX, c == 'a' ? &j.at : &j.end))
            return cli_usage(COMMAND, "'%s' is not an offset", optarg);
    }
    if (!j.key_path || optind + 2 != argc)
        return cli_usage(COMMAND, "give --key, the image and the output");
    return fill(&j, argv[optind], argv[optind + 1]);
}
