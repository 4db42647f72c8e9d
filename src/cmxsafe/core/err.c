#include "cmxsafe/core/err.h"

#include <stddef.h>

struct err_entry {
    cmx_err err;
    const char *name;
    const char *text;
};

static const struct err_entry entries[] = {
    {CMX_OK, "ok", "no error"},
    {CMX_EAGAIN, "again", "not finished yet"},
    {CMX_ETIMEOUT, "timeout", "timed out"},
    {CMX_EDNS, "dns", "the name does not resolve"},
    {CMX_EREFUSED, "refused", "the peer refused the connection"},
    {CMX_EUNREACH, "unreachable", "the peer cannot be reached"},
    {CMX_ECLOSED, "closed", "the peer closed the connection"},
    {CMX_EFORWARD, "forward-refused", "the gateway refused the forward"},
    {CMX_EBUSY, "busy", "in use by someone else"},
    {CMX_EINVAL, "invalid", "a setting or argument is not valid"},
    {CMX_EHOSTKEY, "host-key", "the gateway's host key is not a pinned one"},
    {CMX_EAUTH, "auth", "the gateway refused the credentials"},
    {CMX_ENOKEY, "no-key", "no usable key"},
    {CMX_EPERM, "not-permitted", "not permitted"},
    {CMX_ENOTSUP, "not-supported", "not supported by this build or platform"},
    {CMX_ENOENT, "not-found", "not found"},
    {CMX_EEXIST, "exists", "already there"},
    {CMX_EFORMAT, "format", "the data do not have the expected form"},
    {CMX_ETRUNC, "truncated", "the data end too early"},
    {CMX_ENOSPC, "no-space", "does not fit"},
    {CMX_ESIG, "signature", "a signature, MAC or digest does not match"},
    {CMX_EDOWNGRADE, "downgrade", "older than the lowest version allowed"},
    {CMX_EPROTO, "protocol", "the peer broke the protocol"},
    {CMX_ENOMEM, "no-memory", "out of memory"},
    {CMX_EIO, "io", "storage or hardware failed"},
    {CMX_EINTERNAL, "internal", "internal error"},
};

static const struct err_entry *find(cmx_err err)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].err == err)
            return &entries[i];
    return &entries[sizeof entries / sizeof entries[0] - 1];
}

const char *cmx_err_name(cmx_err err)
{
    return find(err)->name;
}

const char *cmx_err_text(cmx_err err)
{
    return find(err)->text;
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
