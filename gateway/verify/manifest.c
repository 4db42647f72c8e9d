#include "gateway/verify/manifest.h"

#include <string.h>

#include "cmxsafe/attest/chain.h"
#include "cmxsafe/core/text.h"

#define LINE_MAX_LEN 400 /* enough for a region whose file name is the longest, with every character escaped */
#define WORDS_MAX 7

struct words {
    char mem[LINE_MAX_LEN + 1];
    char *w[WORDS_MAX];
    size_t n;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_printable(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

/* Reads one unquoted word at *s, up to the next blank or comment, and appends it to *dst. */
static cmx_err take_bare(const char **s, const char *end, char **dst)
{
    for (; *s < end && !is_blank(**s) && **s != '#'; ++*s) {
        if (!is_printable(**s))
            return CMX_EFORMAT;
        *(*dst)++ = **s;
    }
    return CMX_OK;
}

/* Reads one word in quotes at *s and appends its text to *dst; '\' escapes the next character. A blank, a comment or
 * the line's end must follow. */
static cmx_err take_quoted(const char **s, const char *end, char **dst)
{
    for (++*s; *s < end && **s != '"'; ++*s) {
        if (**s == '\\' && ++*s == end)
            return CMX_EFORMAT;
        if (!is_printable(**s))
            return CMX_EFORMAT;
        *(*dst)++ = **s;
    }
    if (*s == end)
        return CMX_EFORMAT;
    ++*s;
    return *s == end || is_blank(**s) || **s == '#' ? CMX_OK : CMX_EFORMAT;
}

/* Splits a line into words, up to '#'. CMX_EFORMAT: bytes that are not printable ASCII, or an unclosed quote;
 * CMX_ENOSPC: the line is too long, or has too many words. */
static cmx_err split(struct words *out, const char *line, size_t len)
{
    /* A line that is too long is accepted only if a comment begins within its first LINE_MAX_LEN bytes. */
    bool whole = len <= LINE_MAX_LEN;
    const char *s = line, *end = line + (whole ? len : LINE_MAX_LEN);
    char *dst = out->mem;
    cmx_err err = CMX_OK;

    out->n = 0;
    while (!err) {
        while (s < end && is_blank(*s))
            s++;
        if (s == end)
            return whole ? CMX_OK : CMX_ENOSPC;
        if (*s == '#')
            return CMX_OK;
        if (out->n == WORDS_MAX)
            return CMX_ENOSPC;
        out->w[out->n++] = dst;
        err = *s == '"' ? take_quoted(&s, end, &dst) : take_bare(&s, end, &dst);
        *dst++ = 0; /* the NUL always fits: it takes the place of what follows the word, or of the line's end */
    }
    return err;
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

/* A kind of statement. `offset` is the offset in struct cmx_manifest at which the value is stored. `has` is the offset
 * of the flag that says whether there is a value; 0: there is no flag. */
struct statement {
    const char *word;
    cmx_err (*take)(struct cmx_manifest *m, const struct statement *s, const struct words *w);
    size_t offset, has;
    bool repeats; /* whether the statement may occur more than once */
    const char *form;
};

static void *member(const struct cmx_manifest *m, size_t offset)
{
    return (void *)((uintptr_t)m + offset);
}

/* An empty text is refused, because "any" is expressed by omitting the statement. */
static cmx_err take_text(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    return w->n == 2 && w->w[1][0] ? cmx_text_copy(member(m, s->offset), CMX_EVIDENCE_NAME_MAX, w->w[1]) : CMX_EFORMAT;
}

static cmx_err take_number(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    return w->n == 2 ? read_u32(w->w[1], member(m, s->offset)) : CMX_EFORMAT;
}

static cmx_err take_digest(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    *(bool *)member(m, s->has) = true;
    return w->n == 2 ? cmx_text_hex_decode(member(m, s->offset), CMX_SHA256_LEN, w->w[1]) : CMX_EFORMAT;
}

/* The words of `require`, in the order of the bits CMX_REQUIRE_*. */
static const char *const requirements[] = {"secure-boot",  "flash-encryption", "debug-off",   "isolation",
                                           "hardware-key", "confirmed",        "post-quantum"};
#define N_REQUIREMENTS (sizeof requirements / sizeof requirements[0])

static cmx_err take_require(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    (void)s;
    for (size_t i = 0; w->n == 2 && i < N_REQUIREMENTS; i++)
        if (strcmp(w->w[1], requirements[i]) == 0) {
            m->require |= 1u << i;
            return CMX_OK;
        }
    return CMX_EFORMAT;
}

/* Stores the name of a file. Refuses a name that leaves the manifest's directory: one that begins with '/' or contains
 * "..". */
static cmx_err set_file(char out[CMX_MANIFEST_FILE_MAX], const char *name)
{
    if (!name[0] || name[0] == '/' || strstr(name, ".."))
        return CMX_EINVAL;
    return cmx_text_copy(out, CMX_MANIFEST_FILE_MAX, name);
}

static cmx_err take_region(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    struct cmx_region *r = &m->regions[m->n_regions];
    cmx_err err;

    (void)s;
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
        err = cmx_text_hex_decode(r->sha256, sizeof r->sha256, w->w[w->n - 1]);
    m->n_regions += !err;
    return err;
}

static cmx_err take_mask(struct cmx_manifest *m, const struct statement *s, const struct words *w)
{
    struct cmx_mask *k = &m->masks[m->n_masks];
    cmx_err err;

    (void)s;
    if (m->n_masks == CMX_RANGES_MAX)
        return CMX_ENOSPC;
    err = w->n == 4 && w->w[3][0] ? read_range(w, &k->range) : CMX_EFORMAT;
    if (!err)
        err = cmx_text_copy(k->name, sizeof k->name, w->w[3]);
    m->n_masks += !err;
    return err;
}

#define TEXT_FORM " must be one word or a quoted text of at most 63 characters"

#define MEMBER(name) offsetof(struct cmx_manifest, name)

static const struct statement statements[] = {
    {"name", take_text, MEMBER(name), 0, false, "name" TEXT_FORM},
    {"version", take_text, MEMBER(version), 0, false, "version" TEXT_FORM},
    {"hardware", take_text, MEMBER(hardware), 0, false, "hardware" TEXT_FORM},
    {"secure-version", take_number, MEMBER(secure_version), 0, false, "secure-version must be a number"},
    {"flash-size", take_number, MEMBER(flash_size), 0, false, "flash-size must be a number"},
    {"policy", take_digest, MEMBER(policy), MEMBER(has_policy), false, "policy must be 64 hex digits"},
    {"gateway", take_digest, MEMBER(gateway), MEMBER(has_gateway), false, "gateway must be 64 hex digits"},
    {"require", take_require, 0, 0, true,
     "require must be secure-boot, flash-encryption, debug-off, isolation, hardware-key, confirmed or post-quantum"},
    {"region", take_region, 0, 0, true,
     "a region line must be 'region BEGIN END erased', 'region BEGIN END file NAME OFFSET SHA256' or "
     "'region BEGIN END fill KEYFILE SHA256', and there may be at most 16 region lines"},
    {"mask", take_mask, 0, 0, true,
     "a mask line must be 'mask BEGIN END NAME', and there may be at most 16 mask lines"},
};
#define N_STATEMENTS (sizeof statements / sizeof statements[0])
_Static_assert(N_STATEMENTS <= 32, "seen has a bit for each statement");

static cmx_err take_first(const struct words *w, struct cmx_why *why)
{
    if (w->n == 2 && strcmp(w->w[0], "cmxsafe-manifest") == 0 && strcmp(w->w[1], "1") == 0)
        return CMX_OK;
    return cmx_why_fail(why, CMX_EFORMAT, "the first line must be 'cmxsafe-manifest 1'");
}

/* Parses one line. *seen has a bit for each statement that has occurred. */
static cmx_err take_line(struct cmx_manifest *m, const struct words *w, uint32_t *seen, struct cmx_why *why)
{
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        const struct statement *s = &statements[i];
        bool again = *seen & (1u << i);
        cmx_err err;

        if (strcmp(w->w[0], s->word) != 0)
            continue;
        if (again && !s->repeats)
            return cmx_why_fail(why, CMX_EEXIST, "this statement occurs twice");
        *seen |= 1u << i;
        err = s->take(m, s, w);
        return err ? cmx_why_fail(why, err, "%s", s->form) : CMX_OK;
    }
    return cmx_why_fail(why, CMX_EFORMAT, "unknown statement");
}

static bool overlap(const struct cmx_range *a, const struct cmx_range *b)
{
    return a->begin < b->end && b->begin < a->end;
}

static const struct cmx_range *nth(const struct cmx_manifest *m, size_t i)
{
    return i < m->n_regions ? &m->regions[i].range : &m->masks[i - m->n_regions].range;
}

static cmx_err check_whole(const struct cmx_manifest *m, struct cmx_why *why)
{
    size_t n = m->n_regions + m->n_masks;

    if (m->flash_size == 0 || m->n_regions == 0)
        return cmx_why_fail(why, CMX_EFORMAT, "a manifest needs flash-size and at least one region");
    for (size_t i = 0; i < n; i++)
        if (nth(m, i)->end > m->flash_size)
            return cmx_why_fail(why, CMX_EINVAL, "a region or mask ends beyond the flash");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (overlap(nth(m, i), nth(m, k)))
                return cmx_why_fail(why, CMX_EINVAL, "regions or masks overlap");
    return CMX_OK;
}

cmx_err cmx_manifest_parse(struct cmx_manifest *m, const char *text, size_t len, unsigned *line, struct cmx_why *why)
{
    const char *end = text + len;
    bool first = true;
    uint32_t seen = 0;
    struct words w;
    cmx_err err;

    memset(m, 0, sizeof *m);
    *line = 0;
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        *line = 1;
        return cmx_why_fail(why, CMX_EFORMAT, "it is UTF-16 text; save it as UTF-8");
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* the byte order mark that some editors write */
        text += 3;
    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((nl ? nl : end) - text);

        ++*line;
        err = split(&w, text, n);
        if (err)
            cmx_why_set(
                why,
                "a line must have at most 400 printable characters and 7 words, each unquoted or completely in quotes");
        if (!err && w.n > 0) {
            err = first ? take_first(&w, why) : take_line(m, &w, &seen, why);
            first = false;
        }
        if (err)
            return err;
        text += n + 1;
    }
    return check_whole(m, why);
}

/* If one region ends and another begins at the address `at`, returns the end of at's chunk. Otherwise returns at. */
static uint32_t border(const struct cmx_manifest *m, uint32_t at)
{
    const uint32_t rest = (0 - at) % CMX_CHUNK;
    bool begins = false, ends = false;

    for (size_t i = 0; i < m->n_regions; i++) {
        begins |= m->regions[i].range.begin == at;
        ends |= m->regions[i].range.end == at;
    }
    if (!begins || !ends)
        return at;
    return rest < m->flash_size - at ? at + rest : m->flash_size;
}

void cmx_manifest_ranges(const struct cmx_manifest *m, struct cmx_ranges *out)
{
    out->n = 0;
    for (size_t i = 0; i < m->n_regions; i++) {
        const struct cmx_range r = {border(m, m->regions[i].range.begin), border(m, m->regions[i].range.end)};

        if (r.begin < r.end)
            out->r[out->n++] = r;
    }
}

cmx_err cmx_manifest_check_ranges(const struct cmx_manifest *m, struct cmx_why *why)
{
    struct cmx_ranges ranges;

    cmx_manifest_ranges(m, &ranges);
    if (cmx_ranges_are_whole(&ranges, m->flash_size))
        return CMX_OK;
    return cmx_why_fail(why, CMX_EINVAL,
                        "a region must begin and end at a multiple of %d, or where another region or the flash ends",
                        CMX_CHUNK);
}

/* Returns the first region or mask that begins at `at` or later, or NULL. */
static const struct cmx_range *next_from(const struct cmx_manifest *m, uint32_t at)
{
    const struct cmx_range *found = NULL;

    for (size_t i = 0; i < m->n_regions + m->n_masks; i++) {
        const struct cmx_range *r = nth(m, i);

        if (r->begin >= at && (!found || r->begin < found->begin))
            found = r;
    }
    return found;
}

size_t cmx_manifest_gaps(const struct cmx_manifest *m, struct cmx_range out[CMX_MANIFEST_GAPS_MAX])
{
    uint32_t at = 0;
    size_t n = 0;

    while (at < m->flash_size) {
        const struct cmx_range *r = next_from(m, at);
        uint32_t end = r ? r->begin : m->flash_size;

        if (end > at)
            out[n++] = (struct cmx_range){at, end};
        at = r ? r->end : end;
    }
    return n;
}

struct printer {
    struct cmx_buf *out;
    bool invalid; /* a text has a character that a manifest cannot contain */
};

/* Appends a text so that split() parses it: unquoted if possible, otherwise in quotes. */
static void print_word(struct printer *p, const char *s)
{
    bool quote = s[0] == '"' || strpbrk(s, " #");

    if (quote)
        cmx_buf_put_u8(p->out, '"');
    for (; *s; s++) {
        p->invalid |= !is_printable(*s);
        if (quote && (*s == '"' || *s == '\\'))
            cmx_buf_put_u8(p->out, '\\');
        cmx_buf_put_u8(p->out, (uint8_t)*s);
    }
    if (quote)
        cmx_buf_put_u8(p->out, '"');
}

static void print_text(struct printer *p, const char *word, const char *value)
{
    if (!value[0])
        return;
    cmx_buf_printf(p->out, "%s ", word);
    print_word(p, value);
    cmx_buf_put_u8(p->out, '\n');
}

static void print_digest(struct printer *p, const char *word, const uint8_t digest[CMX_SHA256_LEN])
{
    char hex[CMX_SHA256_HEX];

    cmx_text_hex_encode(hex, digest, CMX_SHA256_LEN);
    cmx_buf_printf(p->out, "%s %s\n", word, hex);
}

static void print_head(struct printer *p, const struct cmx_manifest *m)
{
    cmx_buf_put_str(p->out, "cmxsafe-manifest 1\n");
    print_text(p, "name", m->name);
    print_text(p, "version", m->version);
    print_text(p, "hardware", m->hardware);
    if (m->secure_version)
        cmx_buf_printf(p->out, "secure-version %lu\n", (unsigned long)m->secure_version);
    cmx_buf_printf(p->out, "flash-size 0x%lx\n", (unsigned long)m->flash_size);
    for (size_t i = 0; i < N_REQUIREMENTS; i++)
        if (m->require & 1u << i)
            cmx_buf_printf(p->out, "require %s\n", requirements[i]);
    if (m->has_policy)
        print_digest(p, "policy", m->policy);
    if (m->has_gateway)
        print_digest(p, "gateway", m->gateway);
}

static void print_region(struct printer *p, const struct cmx_region *r)
{
    cmx_buf_printf(p->out, "region 0x%06lx 0x%06lx ", (unsigned long)r->range.begin, (unsigned long)r->range.end);
    if (r->kind == CMX_REGION_ERASED) {
        cmx_buf_put_str(p->out, "erased\n");
        return;
    }
    cmx_buf_put_str(p->out, r->kind == CMX_REGION_FILE ? "file " : "fill ");
    print_word(p, r->file);
    if (r->kind == CMX_REGION_FILE)
        cmx_buf_printf(p->out, " 0x%lx", (unsigned long)r->file_offset);
    print_digest(p, "", r->sha256);
}

static void print_mask(struct printer *p, const struct cmx_mask *k)
{
    cmx_buf_printf(p->out, "mask 0x%06lx 0x%06lx ", (unsigned long)k->range.begin, (unsigned long)k->range.end);
    print_word(p, k->name);
    cmx_buf_put_u8(p->out, '\n');
}

cmx_err cmx_manifest_print(const struct cmx_manifest *m, struct cmx_buf *out)
{
    struct printer p = {.out = out};

    print_head(&p, m);
    for (size_t i = 0; i < m->n_regions; i++)
        print_region(&p, &m->regions[i]);
    for (size_t i = 0; i < m->n_masks; i++)
        print_mask(&p, &m->masks[i]);
    return p.invalid ? CMX_EINVAL : cmx_buf_error(out);
}
