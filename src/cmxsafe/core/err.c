#include "cmxsafe/core/err.h"

#include "cmxsafe/core/text.h"

/* Name and text of each error in the order of err.h: a table of pointers would be as large again. */
#define WORDS(err, name, text) name "\0" text "\0"
/* clang-format off */
static const char words[] =
    WORDS(CMX_OK, "ok", "no error")
    WORDS(CMX_EAGAIN, "again", "not finished yet")
    WORDS(CMX_ETIMEOUT, "timeout", "timed out")
    WORDS(CMX_EDNS, "dns", "the name does not resolve")
    WORDS(CMX_EREFUSED, "refused", "connection refused")
    WORDS(CMX_EUNREACH, "unreachable", "no way to the peer")
    WORDS(CMX_ECLOSED, "closed", "connection closed")
    WORDS(CMX_EFORWARD, "forward-refused", "forward refused")
    WORDS(CMX_EBUSY, "busy", "in use by someone else")
    WORDS(CMX_EINVAL, "invalid", "invalid setting")
    WORDS(CMX_EHOSTKEY, "host-key", "host key not pinned")
    WORDS(CMX_EAUTH, "auth", "credentials refused")
    WORDS(CMX_ENOKEY, "no-key", "no usable key")
    WORDS(CMX_EPERM, "not-permitted", "not permitted")
    WORDS(CMX_ENOTSUP, "not-supported", "not supported here")
    WORDS(CMX_ENOENT, "not-found", "not found")
    WORDS(CMX_EEXIST, "exists", "already there")
    WORDS(CMX_EFORMAT, "format", "malformed")
    WORDS(CMX_ETRUNC, "truncated", "data end too early")
    WORDS(CMX_ENOSPC, "no-space", "does not fit")
    WORDS(CMX_ESIG, "signature", "signature or digest mismatch")
    WORDS(CMX_EDOWNGRADE, "downgrade", "older than allowed")
    WORDS(CMX_EPROTO, "protocol", "protocol violated")
    WORDS(CMX_ENOMEM, "no-memory", "out of memory")
    WORDS(CMX_EIO, "io", "storage or hardware failed")
    WORDS(CMX_EINTERNAL, "internal", "internal error");
/* clang-format on */

/* An unknown value is an internal error. */
CMX_SMALL static const char *word(cmx_err err, unsigned second)
{
    const unsigned known = (unsigned)err <= CMX_EINTERNAL ? (unsigned)err : CMX_EINTERNAL;

    return cmx_text_nth(words, 2 * known + second);
}

const char *cmx_err_name(cmx_err err)
{
    return word(err, 0);
}

const char *cmx_err_text(cmx_err err)
{
    return word(err, 1);
}

cmx_err_group cmx_err_group_of(cmx_err err)
{
    if (err == CMX_OK)
        return CMX_GROUP_OK;
    if (err < CMX_EINVAL)
        return CMX_GROUP_RETRY;
    if (err < CMX_EFORMAT)
        return CMX_GROUP_RECONFIGURE;
    return CMX_GROUP_GIVE_UP;
}
