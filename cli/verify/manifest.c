#include "verify/manifest.h"

#include <string.h>

#include "cmxsafe/core/text.h"

#define LINE_MAX_LEN 320
#define WORDS_MAX 7

struct words {
    char mem[LINE_MAX_LEN + 1];
    char *w[WORDS_MAX];
    size_t n;
};

/* Splits a line at blanks, up to '#'. CMX_EFORMAT: bytes that are no printable ASCII; CMX_ENOSPC: too long, too many.
 */
static cmx_err split(struct words *out, const char *line, size_t len)
{
    const char *hash = memchr(line, '#', len);
    bool in_word = false;

    if (hash)
        len = (size_t)(hash - line);
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    out->n = 0;
    if (len > LINE_MAX_LEN)
        return CMX_ENOSPC;
    for (size_t i = 0; i < len; i++) {
        bool blank = line[i] == ' ' || line[i] == '\t';

        if (!blank && (line[i] < 0x21 || line[i] > 0x7e))
            return CMX_EFORMAT;
        if (!blank && !in_word) {
            if (out->n == WORDS_MAX)
                return CMX_ENOSPC;
            out->w[out->n++] = out->mem + i;
        }
        out->mem[i] = blank ? 0 : line[i];
        in_word = !blank;
    }
    out->mem[len] = 0;
    return CMX_OK;
}

static cmx_err read_u32(const char *s, uint32_t *out)
{
    uint64_t v = 0;
    cmx_err err = cmx_text_u64(s, 0, UINT32_MAX, &v);

    if (!err)
        *out = (uint32_t)v;
    return err;
}

static cmx_err read_range(const struct words *w, struct cmx_range *out)
{
    cmx_err err = w->n < 3 ? CMX_EFORMAT : read_u32(w->w[1], &out->begin);

    if (!err)
        err = read_u32(w->w[2], &out->end);
    if (!err && out->begin >= out->end)
        err = CMX_EINVAL;
    return err;
}

static cmx_err set_text(char out[CMX_EVIDENCE_NAME_MAX], const struct words *w)
{
    return w->n == 2 ? cmx_text_copy(out, CMX_EVIDENCE_NAME_MAX, w->w[1]) : CMX_EFORMAT;
}

static cmx_err set_name(struct cmx_manifest *m, const struct words *w)
{
    return set_text(m->name, w);
}

static cmx_err set_version(struct cmx_manifest *m, const struct words *w)
{
    return set_text(m->version, w);
}

static cmx_err set_hardware(struct cmx_manifest *m, const struct words *w)
{
    return set_text(m->hardware, w);
}

static cmx_err set_secure_version(struct cmx_manifest *m, const struct words *w)
{
    return w->n == 2 ? read_u32(w->w[1], &m->secure_version) : CMX_EFORMAT;
}

static cmx_err set_flash_size(struct cmx_manifest *m, const struct words *w)
{
    return w->n == 2 ? read_u32(w->w[1], &m->flash_size) : CMX_EFORMAT;
}

static cmx_err set_policy(struct cmx_manifest *m, const struct words *w)
{
    m->has_policy = true;
    return w->n == 2 ? cmx_hex_decode(m->policy, sizeof m->policy, w->w[1]) : CMX_EFORMAT;
}

static cmx_err set_gateway(struct cmx_manifest *m, const struct words *w)
{
    m->has_gateway = true;
    return w->n == 2 ? cmx_hex_decode(m->gateway, sizeof m->gateway, w->w[1]) : CMX_EFORMAT;
}

/* The words of `require`, and where each is kept. */
static const struct {
    const char *word;
    size_t offset;
} requirements[] = {
    {"secure-boot", offsetof(struct cmx_manifest, require_secure_boot)},
    {"flash-encryption", offsetof(struct cmx_manifest, require_flash_encryption)},
    {"debug-off", offsetof(struct cmx_manifest, require_debug_off)},
    {"isolation", offsetof(struct cmx_manifest, require_isolation)},
    {"hardware-key", offsetof(struct cmx_manifest, require_hardware_key)},
    {"confirmed", offsetof(struct cmx_manifest, require_confirmed)},
};
#define N_REQUIREMENTS (sizeof requirements / sizeof requirements[0])

static bool *requirement(const struct cmx_manifest *m, size_t i)
{
    return (bool *)((uintptr_t)m + requirements[i].offset);
}

static cmx_err set_require(struct cmx_manifest *m, const struct words *w)
{
    for (size_t i = 0; w->n == 2 && i < N_REQUIREMENTS; i++)
        if (strcmp(w->w[1], requirements[i].word) == 0) {
            *requirement(m, i) = true;
            return CMX_OK;
        }
    return CMX_EFORMAT;
}

/* A name, not a way out of the manifest's directory: no leading '/', no "..". */
static cmx_err set_file(char out[CMX_MANIFEST_FILE_MAX], const char *name)
{
    if (name[0] == '/' || strstr(name, ".."))
        return CMX_EINVAL;
    return cmx_text_copy(out, CMX_MANIFEST_FILE_MAX, name);
}

static cmx_err add_region(struct cmx_manifest *m, const struct words *w)
{
    struct cmx_region *r = &m->regions[m->n_regions];
    cmx_err err;

    if (m->n_regions == CMX_RANGES_MAX)
        return CMX_ENOSPC;
    err = read_range(w, &r->range);
    if (err)
        return err;
    if (w->n == 4 && strcmp(w->w[3], "erased") == 0) {
        r->kind = CMX_REGION_ERASED;
    } else if (w->n == 7 && strcmp(w->w[3], "file") == 0) {
        r->kind = CMX_REGION_FILE;
        err = set_file(r->file, w->w[4]);
        if (!err)
            err = read_u32(w->w[5], &r->file_offset);
    } else if (w->n == 6 && strcmp(w->w[3], "fill") == 0) {
        r->kind = CMX_REGION_FILL;
        err = set_file(r->file, w->w[4]);
    } else {
        return CMX_EFORMAT;
    }
    if (!err && r->kind != CMX_REGION_ERASED)
        err = cmx_hex_decode(r->sha256, sizeof r->sha256, w->w[w->n - 1]);
    m->n_regions += !err;
    return err;
}

static cmx_err add_mask(struct cmx_manifest *m, const struct words *w)
{
    struct cmx_mask *k = &m->masks[m->n_masks];
    cmx_err err;

    if (m->n_masks == CMX_RANGES_MAX)
        return CMX_ENOSPC;
    err = w->n == 4 ? read_range(w, &k->range) : CMX_EFORMAT;
    if (!err)
        err = cmx_text_copy(k->name, sizeof k->name, w->w[3]);
    m->n_masks += !err;
    return err;
}

static const struct statement {
    const char *word;
    cmx_err (*take)(struct cmx_manifest *m, const struct words *w);
    const char *form;
} statements[] = {
    {"name", set_name, "name is one word of at most 63 characters"},
    {"version", set_version, "version is one word of at most 63 characters"},
    {"hardware", set_hardware, "hardware is one word of at most 63 characters"},
    {"secure-version", set_secure_version, "secure-version is a number"},
    {"flash-size", set_flash_size, "flash-size is a number"},
    {"policy", set_policy, "policy is 64 hex digits"},
    {"gateway", set_gateway, "gateway is 64 hex digits"},
    {"require", set_require,
     "require is secure-boot, flash-encryption, debug-off, isolation, hardware-key or confirmed"},
    {"region", add_region,
     "region is BEGIN END erased, BEGIN END file NAME OFFSET SHA256 or BEGIN END fill KEYFILE SHA256 (at most 16)"},
    {"mask", add_mask, "mask is BEGIN END NAME (at most 16)"},
};

static cmx_err take_line(struct cmx_manifest *m, const struct words *w, bool first, const char **why)
{
    if (first) {
        *why = "the first line is 'cmxsafe-manifest 1'";
        return w->n == 2 && strcmp(w->w[0], "cmxsafe-manifest") == 0 && strcmp(w->w[1], "1") == 0 ? CMX_OK
                                                                                                  : CMX_EFORMAT;
    }
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        if (strcmp(w->w[0], statements[i].word) == 0) {
            *why = statements[i].form;
            return statements[i].take(m, w);
        }
    *why = "unknown statement";
    return CMX_EFORMAT;
}

static bool overlap(const struct cmx_range *a, const struct cmx_range *b)
{
    return a->begin < b->end && b->begin < a->end;
}

static const struct cmx_range *nth(const struct cmx_manifest *m, size_t i)
{
    return i < m->n_regions ? &m->regions[i].range : &m->masks[i - m->n_regions].range;
}

static cmx_err check_whole(const struct cmx_manifest *m, const char **why)
{
    size_t n = m->n_regions + m->n_masks;

    *why = "a manifest has at least flash-size and one region";
    if (m->flash_size == 0 || m->n_regions == 0)
        return CMX_EFORMAT;
    *why = "a region or mask ends beyond the flash";
    for (size_t i = 0; i < n; i++)
        if (nth(m, i)->end > m->flash_size)
            return CMX_EINVAL;
    *why = "regions or masks overlap";
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (overlap(nth(m, i), nth(m, k)))
                return CMX_EINVAL;
    return CMX_OK;
}

cmx_err cmx_manifest_parse(struct cmx_manifest *m, const char *text, size_t len, unsigned *line, const char **why)
{
    const char *end = text + len;
    bool first = true;
    struct words w;
    cmx_err err;

    memset(m, 0, sizeof *m);
    *line = 0;
    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((nl ? nl : end) - text);

        ++*line;
        *why = "a line is at most 320 printable characters in 7 words";
        err = split(&w, text, n);
        if (!err && w.n > 0) {
            err = take_line(m, &w, first, why);
            first = false;
        }
        if (err)
            return err;
        text += n + 1;
    }
    err = check_whole(m, why);
    if (!err)
        *why = "";
    return err;
}

void cmx_manifest_ranges(const struct cmx_manifest *m, struct cmx_ranges *out)
{
    out->n = m->n_regions;
    for (size_t i = 0; i < m->n_regions; i++)
        out->r[i] = m->regions[i].range;
}

static cmx_err print_text(struct cmx_buf *out, const char *word, const char *value)
{
    return value[0] ? cmx_buf_printf(out, "%s %s\n", word, value) : CMX_OK;
}

static cmx_err print_digest(struct cmx_buf *out, const char *word, const uint8_t digest[CMX_SHA256_LEN])
{
    char hex[2 * CMX_SHA256_LEN + 1];

    cmx_hex_encode(hex, digest, CMX_SHA256_LEN);
    return cmx_buf_printf(out, "%s %s\n", word, hex);
}

static cmx_err print_head(const struct cmx_manifest *m, struct cmx_buf *out)
{
    cmx_err err = cmx_buf_put_str(out, "cmxsafe-manifest 1\n");

    if (!err)
        err = print_text(out, "name", m->name);
    if (!err)
        err = print_text(out, "version", m->version);
    if (!err)
        err = print_text(out, "hardware", m->hardware);
    if (!err && m->secure_version)
        err = cmx_buf_printf(out, "secure-version %lu\n", (unsigned long)m->secure_version);
    if (!err)
        err = cmx_buf_printf(out, "flash-size 0x%lx\n", (unsigned long)m->flash_size);
    for (size_t i = 0; i < N_REQUIREMENTS && !err; i++)
        if (*requirement(m, i))
            err = cmx_buf_printf(out, "require %s\n", requirements[i].word);
    if (!err && m->has_policy)
        err = print_digest(out, "policy", m->policy);
    if (!err && m->has_gateway)
        err = print_digest(out, "gateway", m->gateway);
    return err;
}

static cmx_err print_region(const struct cmx_region *r, struct cmx_buf *out)
{
    cmx_err err =
        cmx_buf_printf(out, "region 0x%06lx 0x%06lx ", (unsigned long)r->range.begin, (unsigned long)r->range.end);

    if (err || r->kind == CMX_REGION_ERASED)
        return err ? err : cmx_buf_put_str(out, "erased\n");
    if (r->kind == CMX_REGION_FILE)
        err = cmx_buf_printf(out, "file %s 0x%lx", r->file, (unsigned long)r->file_offset);
    else
        err = cmx_buf_printf(out, "fill %s", r->file);
    return err ? err : print_digest(out, "", r->sha256);
}

cmx_err cmx_manifest_print(const struct cmx_manifest *m, struct cmx_buf *out)
{
    cmx_err err = print_head(m, out);

    for (size_t i = 0; i < m->n_regions && !err; i++)
        err = print_region(&m->regions[i], out);
    for (size_t i = 0; i < m->n_masks && !err; i++)
        err = cmx_buf_printf(out, "mask 0x%06lx 0x%06lx %s\n", (unsigned long)m->masks[i].range.begin,
                             (unsigned long)m->masks[i].range.end, m->masks[i].name);
    return err;
}
