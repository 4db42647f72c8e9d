/* image_manifest.c - `cmxsafe image manifest`: makes reference values for a verifier from the expected flash content.
 */
#include <stdio.h>
#include <string.h>

#include "cli/image_tool.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/port/crypto.h"
#include "gateway/verify/manifest.h"
#include "gateway/verify/reference.h"
#include "port/linux/cli.h"

static const char about[] = "Prints the reference values that `cmxsafe attest --evidence` compares a device with. "
                            "IMAGE is an application image or "
                            "a dump of flash. The flash after it is expected to be erased, or to hold filler "
                            "(--fill). Keep the manifest beside "
                            "the image.";

struct job {
    const char *path;
    const char *fill_path;
    const uint8_t *data;
    size_t len;
    uint32_t at;
    uint32_t end; /* offset at which the described part of flash ends; 0: at the end of flash */
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

/* Parses a mask: "BEGIN-END=NAME". */
static bool add_mask(struct cmx_manifest *m, const char *text)
{
    const char *name = strchr(text, '=');
    struct cmx_ranges r;

    if (!name || m->n_masks == CMX_RANGES_MAX || !name[1])
        return false;
    if (cmx_ranges_parse(&r, text, (size_t)(name - text), UINT32_MAX, NULL) || r.n != 1)
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
    unsigned line;
    int n = snprintf(text, sizeof text, "%s%s\n", form, word);

    if (n < 0 || (size_t)n >= sizeof text || cmx_manifest_parse(&one, text, (size_t)n, &line, NULL))
        return false;
    m->require |= one.require;
    return true;
}

/* *done false: the options are valid, and the command continues. *done true: the caller returns the result. */
static int read_options(struct job *j, int argc, char **argv, bool *done)
{
    struct cli_list masks = {.n = 0}, requirements = {.n = 0};
    const char *flash_size = "4MB", *end = NULL;
    uint64_t at = 0x10000;
    const struct cli_option options[] = {
        CLI_NUMBER("at", "OFFSET", 0, UINT32_MAX, "the offset in flash at which IMAGE begins", &at, .hex = true),
        CLI_TEXT("flash-size", "BYTES", "the size of the flash: 4MB, 8MB, 0x400000, ...", &flash_size),
        CLI_TEXT("end", "OFFSET", "where the described part of flash ends (default: at the end of flash)", &end),
        CLI_TEXT("fill", "FILE", "free flash holds the filler that `cmxsafe image fill` computes from this key",
                 &j->fill_path),
        CLI_LIST("mask", "BEGIN-END=NAME",
                 "leave this range out because it changes at run time (nvs, otadata, phy); repeatable", &masks),
        CLI_LIST(
            "require", "WHAT",
            "what evidence must prove: secure-boot, flash-encryption, debug-off, isolation, hardware-key, confirmed or "
            "post-quantum; repeatable",
            &requirements),
        CLI_FLAG("any-version", "accept any name and version of the image", &j->any_version),
    };
    struct cli_line line = CLI_LINE("cmxsafe image manifest", "IMAGE", about, 1, 1, options);
    int status;

    *done = true;
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (!read_size(flash_size, &j->m.flash_size))
        return cli_usage(line.command, "--flash-size '%s': give 4MB, 0x400000, ...", flash_size);
    if (end && !read_size(end, &j->end))
        return cli_usage(line.command, "--end '%s': give 4MB, 0x400000, ...", end);
    for (size_t i = 0; i < masks.n; i++)
        if (!add_mask(&j->m, masks.item[i]))
            return cli_usage(line.command, "--mask '%s': give BEGIN-END=NAME", masks.item[i]);
    for (size_t i = 0; i < requirements.n; i++)
        if (!add_requirement(&j->m, requirements.item[i]))
            return cli_usage(line.command, "--require '%s': unknown requirement", requirements.item[i]);
    j->at = (uint32_t)at;
    j->path = line.operand[0];
    *done = false;
    return CLI_OK;
}

/* The files that a manifest names are in the manifest's own folder, so only the last component of the path is kept. */
static cmx_err set_file(struct cmx_region *r, const char *path, struct cmx_why *why)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    return cmx_text_copy(r->file, sizeof r->file, name)
               ? cmx_why_fail(why, CMX_ENOSPC, "the name '%.80s' is too long; rename the file", name)
               : CMX_OK;
}

static cmx_err add_file_region(struct job *j, size_t len, struct cmx_why *why)
{
    struct cmx_region *r = &j->m.regions[j->m.n_regions++];
    cmx_err err;

    r->kind = CMX_REGION_FILE;
    r->range = (struct cmx_range){j->at, j->at + (uint32_t)len};
    err = set_file(r, j->path, why);
    return err ? err : cmx_sha256_of(j->data, len, r->sha256);
}

/* Returns the length of the image without trailing filler, which gets a region of its own. */
static size_t length_without_filler(const struct job *j, const uint8_t *filler)
{
    size_t len = j->len;

    while (len > 0 && j->data[len - 1] == filler[len - 1])
        len--;
    return len;
}

static cmx_err add_fill_region(struct job *j, uint32_t end, size_t *image_len, struct cmx_why *why)
{
    struct cmx_region *r = &j->m.regions[1];
    const uint8_t *key = NULL;
    size_t key_len = 0;
    uint8_t *filler = cmx_mem_alloc(end - j->at);
    cmx_err err = filler ? reference_map(j->fill_path, &key, &key_len, why) : CMX_ENOMEM;

    if (err)
        cmx_why_set(why, "%.120s: %s", j->fill_path, cmx_why_text(why, err));
    if (!err)
        err = cmx_fill(key, key_len, j->at, filler, end - j->at);
    if (err == CMX_EINVAL && key)
        cmx_why_set(why, "the filler's key has less than 16 bytes; make one with: openssl rand -out fill.key 32");
    if (!err) {
        *image_len = length_without_filler(j, filler);
        r->kind = CMX_REGION_FILL;
        r->range = (struct cmx_range){j->at + (uint32_t)*image_len, end};
        err = set_file(r, j->fill_path, why);
    }
    if (!err && r->range.begin < end)
        err = cmx_sha256_of(filler + (r->range.begin - j->at), end - r->range.begin, r->sha256);
    if (key)
        reference_unmap(key, key_len);
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

static cmx_err build(struct job *j, struct cmx_why *why)
{
    uint32_t end = j->end ? j->end : j->m.flash_size;
    size_t len = j->len;
    cmx_err err = CMX_OK;

    if (end > j->m.flash_size || end <= j->at || j->len > end - j->at)
        return cmx_why_fail(why, CMX_EINVAL,
                            "it does not fit into this part of flash; check --at, --end and "
                            "--flash-size");
    if (j->fill_path)
        err = add_fill_region(j, end, &len, why);
    if (!err && len > 0)
        err = add_file_region(j, len, why);
    if (err)
        return err;
    if (j->at + len < end) {
        if (!j->fill_path) {
            j->m.regions[1].kind = CMX_REGION_ERASED;
            j->m.regions[1].range = (struct cmx_range){j->at + (uint32_t)len, end};
        }
        if (len == 0)
            j->m.regions[0] = j->m.regions[1];
        j->m.n_regions++;
    }
    return cmx_manifest_check_ranges(&j->m, why);
}

static int print(struct job *j)
{
    static char text[CMX_MANIFEST_TEXT_MAX];
    struct cmx_manifest check;
    struct cmx_buf b;
    const char *s = "";
    struct cmx_why why = {"it is too long"};
    unsigned line;
    cmx_err err;

    cmx_buf_init(&b, text, sizeof text);
    err = cmx_manifest_print(&j->m, &b);
    if (err == CMX_EINVAL)
        return cli_fail("the manifest", "a name or version is not printable ASCII",
                        "rename the file, or leave out the image's name and version with --any-version");
    if (!err)
        err = cmx_buf_cstr(&b, &s);
    if (!err)
        err = cmx_manifest_parse(&check, s, strlen(s), &line, &why); /* print only a manifest that can be parsed */
    if (err)
        return cli_fail("the manifest", why.text, NULL);
    fputs(s, stdout);
    return CLI_OK;
}

int image_manifest(int argc, char **argv)
{
    static struct job j;
    struct cmx_why why = {""};
    bool done;
    cmx_err err;
    int rc;

    memset(&j, 0, sizeof j);
    j.m.flash_size = 4 * 1024 * 1024;
    rc = read_options(&j, argc, argv, &done);
    if (done)
        return rc;
    if (reference_map(j.path, &j.data, &j.len, &why))
        return cli_fail(j.path, why.text, NULL);
    set_version(&j);
    err = build(&j, &why);
    rc = err ? cli_fail(j.path, cmx_why_text(&why, err), NULL) : print(&j);
    reference_unmap(j.data, j.len);
    return rc;
}
