/* image_manifest.c - `cmxsafe image manifest`: reference values for a verifier, from the flash as it should be. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/sha256.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/image.h"
#include "image.h"
#include "verify/manifest.h"
#include "verify/reference.h"

#define COMMAND "cmxsafe image manifest"

static const char help[] =
    "usage: " COMMAND " [OPTIONS] IMAGE > MANIFEST\n"
    "\n"
    "Makes the reference values that `cmxsafe attest --evidence` holds a device against. IMAGE is an application image "
    "or\n"
    "a dump of flash; what lies behind it is expected erased, or full of filler. Keep the manifest beside the image.\n"
    "\n"
    "  --at OFFSET         where in flash IMAGE begins (default: 0x10000)\n"
    "  --flash-size BYTES  4MB, 8MB, 0x400000, ... (default: 4MB)\n"
    "  --end OFFSET        where the expectation ends (default: the flash's end)\n"
    "  --fill FILE         free flash holds the filler of this key (see `cmxsafe image fill`)\n"
    "  --mask BEGIN-END=NAME  left out, because it changes at run time (nvs, otadata, phy); repeatable\n"
    "  --require WHAT      secure-boot, flash-encryption, debug-off, isolation, hardware-key, confirmed; repeatable\n"
    "  --any-version       do not ask for the image's name and version\n";

struct job {
    const char *path;
    const char *fill_path;
    const uint8_t *data;
    size_t len;
    uint32_t at;
    uint32_t end; /* 0: the flash's */
    bool any_version;
    struct cmx_manifest m;
};

static bool read_size(const char *text, uint32_t *out)
{
    char word[24];
    size_t n = strlen(text);
    uint64_t v = 0, unit = 1;

    if (n > 2 && n < sizeof word && strcmp(text + n - 2, "MB") == 0) {
        unit = 1024 * 1024;
        n -= 2;
    }
    if (n >= sizeof word)
        return false;
    memcpy(word, text, n);
    word[n] = 0;
    if (cmx_text_u64(word, 1, UINT32_MAX / unit, &v) != CMX_OK)
        return false;
    *out = (uint32_t)(v * unit);
    return true;
}

/* "BEGIN-END=NAME" */
static bool add_mask(struct cmx_manifest *m, const char *text)
{
    const char *name = strchr(text, '='), *why;
    struct cmx_ranges r;

    if (!name || m->n_masks == CMX_RANGES_MAX || !name[1])
        return false;
    if (cmx_ranges_parse(&r, text, (size_t)(name - text), UINT32_MAX, &why) || r.n != 1)
        return false;
    m->masks[m->n_masks].range = r.r[0];
    if (cmx_text_copy(m->masks[m->n_masks].name, sizeof m->masks[0].name, name + 1))
        return false;
    m->n_masks++;
    return true;
}

static bool add_requirement(struct cmx_manifest *m, const char *word)
{
    static const char form[] = "cmxsafe-manifest 1\nflash-size 1\nregion 0 1 erased\nrequire ";
    struct cmx_manifest one;
    char text[128];
    const char *why;
    unsigned line;
    int n = snprintf(text, sizeof text, "%s%s\n", form, word);

    if (n < 0 || (size_t)n >= sizeof text || cmx_manifest_parse(&one, text, (size_t)n, &line, &why))
        return false;
    m->require_secure_boot |= one.require_secure_boot;
    m->require_flash_encryption |= one.require_flash_encryption;
    m->require_debug_off |= one.require_debug_off;
    m->require_isolation |= one.require_isolation;
    m->require_hardware_key |= one.require_hardware_key;
    m->require_confirmed |= one.require_confirmed;
    return true;
}

static const struct option options[] = {{"at", required_argument, NULL, 'a'},
                                        {"flash-size", required_argument, NULL, 's'},
                                        {"end", required_argument, NULL, 'e'},
                                        {"fill", required_argument, NULL, 'f'},
                                        {"mask", required_argument, NULL, 'm'},
                                        {"require", required_argument, NULL, 'r'},
                                        {"any-version", no_argument, NULL, 'v'},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

static bool take_option(struct job *j, int c, const char *value)
{
    uint64_t at = 0;

    switch (c) {
    case 'a':
        if (cmx_text_u64(value, 0, UINT32_MAX, &at))
            return false;
        j->at = (uint32_t)at;
        return true;
    case 's':
        return read_size(value, &j->m.flash_size);
    case 'e':
        return read_size(value, &j->end);
    case 'f':
        j->fill_path = value;
        return true;
    case 'm':
        return add_mask(&j->m, value);
    case 'r':
        return add_requirement(&j->m, value);
    default:
        j->any_version = true;
        return true;
    }
}

static int read_options(struct job *j, int argc, char **argv, bool *done)
{
    int c;

    opterr = 0;
    optind = 1;
    *done = true;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c == '?')
            return cli_usage(COMMAND, "unknown option or missing value: '%s'", argv[optind - 1]);
        if (!take_option(j, c, optarg))
            return cli_usage(COMMAND, "'%s' is not a value that this option takes", optarg);
    }
    if (optind + 1 != argc)
        return cli_usage(COMMAND, "give one image");
    j->path = argv[optind];
    *done = false;
    return CLI_OK;
}

/* The name as the manifest may have it: beside it. */
static cmx_err set_file(struct cmx_region *r, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    return cmx_text_copy(r->file, sizeof r->file, name);
}

static cmx_err add_file_region(struct job *j, size_t len)
{
    struct cmx_region *r = &j->m.regions[j->m.n_regions++];

    r->kind = CMX_REGION_FILE;
    r->range = (struct cmx_range){j->at, j->at + (uint32_t)len};
    return set_file(r, j->path) ? CMX_EINVAL : cmx_sha256_of(j->data, len, r->sha256);
}

/* How much of the image is something else than filler: the filler behind it is expected by its key. */
static size_t length_without_filler(const struct job *j, const uint8_t *filler)
{
    size_t len = j->len;

    while (len > 0 && j->data[len - 1] == filler[len - 1])
        len--;
    return len;
}

static cmx_err add_fill_region(struct job *j, uint32_t end, size_t *image_len)
{
    struct cmx_region *r = &j->m.regions[1];
    const uint8_t *key = NULL;
    size_t key_len = 0;
    char why[128];
    uint8_t *filler = cmx_mem_alloc(end - j->at);
    cmx_err err = filler ? reference_map(j->fill_path, &key, &key_len, why, sizeof why) : CMX_ENOMEM;

    if (!err)
        err = cmx_fill(key, key_len, j->at, filler, end - j->at);
    if (!err) {
        *image_len = length_without_filler(j, filler);
        r->kind = CMX_REGION_FILL;
        r->range = (struct cmx_range){j->at + (uint32_t)*image_len, end};
        err = set_file(r, j->fill_path);
    }
    if (!err && r->range.begin < end)
        err = cmx_sha256_of(filler + (r->range.begin - j->at), end - r->range.begin, r->sha256);
    if (key)
        (void)munmap((void *)(uintptr_t)key, key_len);
    cmx_mem_free(filler);
    return err;
}

static void set_version(struct job *j)
{
    struct cmx_image_info info;

    if (j->any_version || j->len < CMX_IMAGE_HEAD_LEN || cmx_image_describe(j->data, &info))
        return;
    snprintf(j->m.name, sizeof j->m.name, "%s", info.project);
    snprintf(j->m.version, sizeof j->m.version, "%s", info.version);
    snprintf(j->m.hardware, sizeof j->m.hardware, "%s", cmx_image_chip_name(info.chip_id));
    j->m.secure_version = info.secure_version;
}

static cmx_err build(struct job *j)
{
    uint32_t end = j->end ? j->end : j->m.flash_size;
    size_t len = j->len;
    cmx_err err = CMX_OK;

    if (end > j->m.flash_size || end <= j->at || j->len > end - j->at)
        return CMX_EINVAL;
    if (j->fill_path)
        err = add_fill_region(j, end, &len);
    if (!err && len > 0)
        err = add_file_region(j, len);
    if (err)
        return err;
    if (j->at + len == end)
        return CMX_OK;
    if (!j->fill_path) {
        j->m.regions[1].kind = CMX_REGION_ERASED;
        j->m.regions[1].range = (struct cmx_range){j->at + (uint32_t)len, end};
    }
    if (len == 0)
        j->m.regions[0] = j->m.regions[1];
    j->m.n_regions++;
    return CMX_OK;
}

static int print(struct job *j)
{
    static char text[CMX_MANIFEST_TEXT_MAX];
    struct cmx_manifest check;
    struct cmx_buf b;
    const char *s = "", *why = "does not fit";
    unsigned line;
    cmx_err err;

    cmx_buf_init(&b, text, sizeof text);
    err = cmx_manifest_print(&j->m, &b);
    if (err == CMX_EINVAL)
        return cli_fail("the manifest", "a name or version is not printable ASCII",
                        "rename the file, or leave the image's own texts out by --any-version");
    if (!err)
        err = cmx_buf_cstr(&b, &s);
    if (!err)
        err = cmx_manifest_parse(&check, s, strlen(s), &line, &why); /* nothing is given out that can't be read */
    if (err)
        return cli_fail("the manifest", why, NULL);
    fputs(s, stdout);
    return CLI_OK;
}

int image_manifest(int argc, char **argv)
{
    static struct job j;
    char why[128];
    bool done;
    cmx_err err;
    int rc;

    memset(&j, 0, sizeof j);
    j.at = 0x10000;
    j.m.flash_size = 4 * 1024 * 1024;
    rc = read_options(&j, argc, argv, &done);
    if (done)
        return rc;
    if (reference_map(j.path, &j.data, &j.len, why, sizeof why))
        return cli_fail(j.path, why, NULL);
    set_version(&j);
    err = build(&j);
    rc = err == CMX_EINVAL ? cli_fail(j.path, "does not fit, or its name or the filler's key is not usable",
                                      "check --at, --end, --flash-size and --fill (a key has 16 bytes or more)")
         : err             ? cli_fail(j.path, cmx_err_text(err), NULL)
                           : print(&j);
    (void)munmap((void *)(uintptr_t)j.data, j.len);
    return rc;
}
