#include "cmxsafe/ota/multipart.h"

#include <string.h>
#include <strings.h>

#include "cmxsafe/core/check.h"
#include "cmxsafe/core/text.h"

/* In the state LINES the rest of a delimiter's line arrives, and then the part's header. */
enum { PREAMBLE, BODY, LINES, EPILOGUE, BROKEN };

/* True for a character in the set `bchars` of RFC 2046 section 5.1.1. */
static bool boundary_char(char c)
{
    return cmx_text_is_alnum(c) || (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

/* Finds `;name=value` in a header, where the value is bare or quoted. Copies the value to out, cut to cap. False: the
 * parameter is absent or malformed. */
static bool parameter(const char *header, const char *name, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    const char *p = strchr(header, ';');

    while (p) {
        size_t n = 0;
        bool quoted, wanted;

        p += 1 + strspn(p + 1, " \t;");
        wanted = strncasecmp(p, name, name_len) == 0 && p[name_len] == '=';
        p += strcspn(p, "=;");
        if (*p != '=') {
            p = strchr(p, ';');
            continue;
        }
        quoted = *++p == '"';
        p += quoted;
        for (; *p && *p != (quoted ? '"' : ';'); p++) {
            if (quoted && *p == '\\' && p[1])
                p++;
            if (wanted && n + 1 < cap)
                out[n++] = *p;
        }
        if (quoted && *p != '"')
            return false;
        if (wanted) {
            out[n] = '\0';
            return true;
        }
        p = strchr(p, ';');
    }
    return false;
}

/* Enters PREAMBLE or BODY. The CRLF with which a delimiter begins counts as matched, because the delimiter may follow
 * at once: after an empty preamble the delimiter has no CRLF, and in an empty part the CRLF that ends the blank line
 * also begins the delimiter. */
static void seek_delimiter(struct cmx_multipart *m, int state)
{
    m->state = state;
    m->matched = 2;
    m->assumed = 2;
}

cmx_err cmx_multipart_init(struct cmx_multipart *m, const char *content_type)
{
    static const char type[] = "multipart/form-data";
    char boundary[CMX_MULTIPART_BOUNDARY_MAX + 2]; /* room for one more char, to detect a boundary that is too long */
    size_t len;

    memset(m, 0, sizeof *m);
    m->state = BROKEN;
    if (!content_type || strncasecmp(content_type, type, sizeof type - 1) != 0 ||
        (content_type[sizeof type - 1] != '\0' && !strchr("; \t", content_type[sizeof type - 1])))
        return CMX_EINVAL;
    if (!parameter(content_type, "boundary", boundary, sizeof boundary))
        return CMX_EFORMAT;
    len = strlen(boundary);
    while (len > 0 && boundary[len - 1] == ' ') /* a boundary does not end with a space */
        len--;
    if (len == 0 || len > CMX_MULTIPART_BOUNDARY_MAX)
        return CMX_EFORMAT;
    for (size_t i = 0; i < len; i++)
        if (!boundary_char(boundary[i]))
            return CMX_EFORMAT;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, len);
    m->delimiter_len = 4 + len;
    seek_delimiter(m, PREAMBLE);
    return CMX_OK;
}

static cmx_err refuse(struct cmx_multipart *m, cmx_err err)
{
    m->state = BROKEN;
    return err;
}

/* Reports the withheld bytes as data, because they are not a delimiter after all. The assumed bytes are left out: they
 * were never received. */
static void mismatch(struct cmx_multipart *m, struct cmx_multipart_event *ev)
{
    if (m->state == BODY && m->matched > m->assumed)
        *ev = (struct cmx_multipart_event){CMX_MULTIPART_DATA, (const uint8_t *)m->delimiter + m->assumed,
                                           m->matched - m->assumed};
    m->matched = 0;
    m->assumed = 0;
}

/* Searches preamble and bodies for the delimiter. The delimiter has a CR only as its first byte, so after a mismatch
 * only the current byte can begin a new match. Returns at an event, after a mismatch, at a complete delimiter, or when
 * all input is consumed. */
static void scan(struct cmx_multipart *m, struct cmx_buf *in, struct cmx_multipart_event *ev)
{
    const uint8_t *p = cmx_buf_data(in);
    size_t len = cmx_buf_len(in), i = 0;

    if (m->matched == 0) {
        const uint8_t *cr = memchr(p, '\r', len);

        i = cr ? (size_t)(cr - p) : len;
        if (i > 0 && m->state == BODY)
            *ev = (struct cmx_multipart_event){CMX_MULTIPART_DATA, p, i};
    }
    for (; i < len && ev->kind == CMX_MULTIPART_MORE && m->matched < m->delimiter_len; i++) {
        if (p[i] != (uint8_t)m->delimiter[m->matched]) {
            mismatch(m, ev);
            break; /* p[i] is examined again */
        }
        m->matched++;
    }
    if (cmx_buf_skip(in, i) != CMX_OK)
        CMX_CHECK(0); /* i <= len */
}

/* Enters LINES after a delimiter. */
static void begin_lines(struct cmx_multipart *m)
{
    m->state = LINES;
    m->matched = 0;
    m->assumed = 0;
    m->line_len = 0;
    m->lines = 0;
    m->has_name = false;
    m->name[0] = '\0';
}

/* Handles a complete line, which is in m->line. */
static cmx_err line_end(struct cmx_multipart *m, struct cmx_multipart_event *ev)
{
    static const char name[] = "content-disposition:";
    const size_t len = m->line_len;

    m->line[len] = '\0';
    m->line_len = 0;
    if (m->lines++ == 0) /* transport padding may follow the delimiter, RFC 2046 section 5.1.1 */
        return strspn(m->line, " \t") == len ? CMX_OK : CMX_EFORMAT;
    if (len == 0) {
        seek_delimiter(m, BODY);
        ev->kind = CMX_MULTIPART_PART;
        return m->has_name ? CMX_OK : CMX_EFORMAT; /* RFC 7578 section 4.2: each part has a name */
    }
    if (strncasecmp(m->line, name, sizeof name - 1) == 0)
        m->has_name = parameter(m->line, "name", m->name, sizeof m->name);
    return m->lines <= 1 + CMX_MULTIPART_HEADERS_MAX ? CMX_OK : CMX_ENOSPC;
}

static cmx_err line_byte(struct cmx_multipart *m, uint8_t c, struct cmx_multipart_event *ev)
{
    if (c == '\n')
        return m->line_len && m->line[--m->line_len] == '\r' ? line_end(m, ev) : CMX_EFORMAT;
    if (c == '\0')
        return CMX_EFORMAT;
    if (m->line_len + 1 >= sizeof m->line)
        return CMX_ENOSPC;
    m->line[m->line_len++] = (char)c;
    if (m->lines == 0 && m->line_len == 2 && memcmp(m->line, "--", 2) == 0) {
        m->state = EPILOGUE;
        ev->kind = CMX_MULTIPART_END;
    }
    return CMX_OK;
}

cmx_err cmx_multipart_next(struct cmx_multipart *m, struct cmx_buf *in, struct cmx_multipart_event *ev)
{
    uint8_t c;
    cmx_err err;

    CMX_CHECK(m->matched <= m->delimiter_len);
    *ev = (struct cmx_multipart_event){CMX_MULTIPART_MORE, NULL, 0};
    while (cmx_buf_len(in) > 0 && ev->kind == CMX_MULTIPART_MORE) {
        if (m->state == BROKEN)
            return CMX_EFORMAT;
        if (m->state == EPILOGUE)
            return cmx_buf_skip(in, cmx_buf_len(in));
        if (m->state == LINES) {
            err = cmx_buf_get_u8(in, &c);
            if (!err)
                err = line_byte(m, c, ev);
            if (err)
                return refuse(m, err);
            continue;
        }
        scan(m, in, ev);
        if (m->matched < m->delimiter_len)
            continue;
        if (m->state == BODY)
            ev->kind = CMX_MULTIPART_DONE;
        begin_lines(m);
    }
    return CMX_OK;
}

bool cmx_multipart_complete(const struct cmx_multipart *m)
{
    return m->state == EPILOGUE;
}
