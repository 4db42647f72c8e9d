#include "gateway/server/gw_rights.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/list.h"

#define NOWHERE "none.invalid" /* the destination that authline.c writes for a key that may open no port */

static uint8_t line_memory[GW_AUTHLINE_MAX];

/* Returns the length of the option (or of the key) at p: up to a comma or blank outside quotes. */
static size_t option_length(const uint8_t *p, size_t len)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < len && (quoted || (p[i] != ',' && p[i] != ' ')); i++)
        quoted ^= p[i] == '"';
    return i;
}

static int compare_digests(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

void gw_rights_free(struct gw_rights *r)
{
    cmx_mem_free(r->opens);
    *r = (struct gw_rights){0};
}

/* Computes the rights that an authorized_keys line grants. */
static cmx_err rights_parse(struct gw_rights *r, const uint8_t *p, size_t len)
{
    static const char open[] = "permitopen=\"";
    size_t cap = 0;

    *r = (struct gw_rights){.line = gw_authline_digest(GW_AUTHLINE_DIGEST, p, len), .fixed = GW_AUTHLINE_DIGEST};
    while (len) {
        size_t n = option_length(p, len);
        bool is_open = n > sizeof open && memcmp(p, open, sizeof open - 1) == 0;
        const uint64_t digest = gw_authline_digest(GW_AUTHLINE_DIGEST, p, n);

        if (is_open && !memmem(p, n, NOWHERE, sizeof NOWHERE - 1) &&
            gw_list_add(&r->opens, &r->n, &cap, &digest, sizeof digest)) {
            gw_rights_free(r);
            return CMX_ENOMEM;
        }
        if (!is_open)
            r->fixed = gw_authline_digest(r->fixed, p, n);
        p += n < len ? n + 1 : n;
        len -= n < len ? n + 1 : n;
    }
    if (r->n)
        qsort(r->opens, r->n, sizeof r->opens[0], compare_digests);
    return CMX_OK;
}

gw_rights_change gw_rights_compare(const struct gw_rights *before, const struct gw_rights *now)
{
    if (before->fixed != now->fixed)
        return GW_RIGHTS_OTHER;
    for (size_t i = 0; i < now->n; i++)
        if (!before->n || !bsearch(&now->opens[i], before->opens, before->n, sizeof now->opens[0], compare_digests))
            return GW_RIGHTS_OTHER;
    return now->n == before->n ? GW_RIGHTS_SAME : GW_RIGHTS_LESS;
}

static struct gw_certificate certificate; /* scratch space of gw_rights_in */

cmx_err gw_rights_in(struct gw_registry *r, const struct gw_session *x, struct gw_rights *rights, char *name,
                     struct cmx_why *e)
{
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, line_memory, sizeof line_memory);
    if (x->certificate.text) {
        err = gw_certificate_parse(&certificate, x->certificate.text, e);
        if (!err)
            err = gw_authline_certificate(r, &certificate, &b, name, e);
    } else {
        err = gw_authline(r, x->fingerprint, &b, name, e);
    }
    return err ? err : rights_parse(rights, cmx_buf_data(&b), cmx_buf_len(&b));
}

cmx_err gw_rights_read(struct gw_server *s, struct gw_session *x, struct cmx_why *e)
{
    struct gw_registry r;
    char path[GW_PATH_MAX];
    cmx_err err = gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, e);

    if (err)
        return err;
    err = gw_rights_in(&r, x, &x->rights, x->name, e);
    gw_registry_close(&r);
    return err;
}
