#include "cmxsafe/core/err.h"

/* Name and text of each error; an error without a row has neither, and the unit test fails. */
/* clang-format off */
static const struct {
    const char *name, *text;
} words[] = {
    [CMX_OK] = {"ok", "no error"},
    [CMX_EAGAIN] = {"again", "not finished yet"},
    [CMX_ETIMEOUT] = {"timeout", "timed out"},
    [CMX_EDNS] = {"dns", "the name does not resolve"},
    [CMX_EREFUSED] = {"refused", "connection refused"},
    [CMX_EUNREACH] = {"unreachable", "no route to the peer"},
    [CMX_ECLOSED] = {"closed", "connection closed"},
    [CMX_EFORWARD] = {"forward-refused", "forward refused"},
    [CMX_EBUSY] = {"busy", "already in use"},
    [CMX_EINVAL] = {"invalid", "invalid setting"},
    [CMX_EHOSTKEY] = {"host-key", "host key not pinned"},
    [CMX_EAUTH] = {"auth", "credentials refused"},
    [CMX_ENOKEY] = {"no-key", "no usable key"},
    [CMX_EPERM] = {"not-permitted", "not permitted"},
    [CMX_ENOTSUP] = {"not-supported", "not supported here"},
    [CMX_ENOENT] = {"not-found", "not found"},
    [CMX_EEXIST] = {"exists", "already there"},
    [CMX_EFORMAT] = {"format", "malformed"},
    [CMX_ETRUNC] = {"truncated", "the data ends too early"},
    [CMX_ENOSPC] = {"no-space", "does not fit"},
    [CMX_ESIG] = {"signature", "signature or digest mismatch"},
    [CMX_EDOWNGRADE] = {"downgrade", "older than allowed"},
    [CMX_EPROTO] = {"protocol", "protocol violated"},
    [CMX_ENOMEM] = {"no-memory", "out of memory"},
    [CMX_EIO] = {"io", "storage or hardware failed"},
    [CMX_EINTERNAL] = {"internal", "internal error"},
};
/* clang-format on */

/* A value outside the enum is a defect of the caller. */
static unsigned known(cmx_err err)
{
    return (unsigned)err <= CMX_EINTERNAL ? (unsigned)err : CMX_EINTERNAL;
}

const char *cmx_err_name(cmx_err err)
{
    return words[known(err)].name;
}

const char *cmx_err_text(cmx_err err)
{
    return words[known(err)].text;
}
