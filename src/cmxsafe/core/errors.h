/* errors.h - every error, one row each. No include guard: define CMX_ERROR, then include this file.
 *
 *     CMX_ERROR(code, name, text)
 *
 * name: a short stable word, for logs, JSON and tests. text: for a person, without a full stop. */
/* clang-format off */
CMX_ERROR(CMX_OK, "ok", "no error")

/* Retry: the same call may succeed later. */
CMX_ERROR(CMX_EAGAIN, "again", "not finished yet") /* also: the call would block */
CMX_ERROR(CMX_ETIMEOUT, "timeout", "timed out")
CMX_ERROR(CMX_EDNS, "dns", "the name does not resolve")
CMX_ERROR(CMX_EREFUSED, "refused", "connection refused")
CMX_ERROR(CMX_EUNREACH, "unreachable", "no route to the peer")
CMX_ERROR(CMX_ECLOSED, "closed", "connection closed") /* the peer closed or reset the connection */
CMX_ERROR(CMX_EFORWARD, "forward-refused", "forward refused") /* the gateway's port is in use or not permitted */
CMX_ERROR(CMX_EBUSY, "busy", "already in use")

/* Reconfigure: the same call fails until a person changes something. */
CMX_ERROR(CMX_EINVAL, "invalid", "invalid setting") /* also: an invalid argument */
CMX_ERROR(CMX_EHOSTKEY, "host-key", "host key not pinned") /* the gateway's host key is not one of the pinned ones */
CMX_ERROR(CMX_EAUTH, "auth", "credentials refused")
CMX_ERROR(CMX_ENOKEY, "no-key", "no usable key") /* e.g. missing, for another purpose, or unknown */
CMX_ERROR(CMX_EPERM, "not-permitted", "not permitted") /* the platform or the policy does not permit the operation */
CMX_ERROR(CMX_ENOTSUP, "not-supported", "not supported here") /* this build or platform lacks the function */
CMX_ERROR(CMX_ENOENT, "not-found", "not found") /* no such file, slot, context or record */
CMX_ERROR(CMX_EEXIST, "exists", "already there")

/* Give up on this input or operation. */
CMX_ERROR(CMX_EFORMAT, "format", "malformed") /* bytes from outside do not have the required form */
CMX_ERROR(CMX_ETRUNC, "truncated", "the data ends too early")
CMX_ERROR(CMX_ENOSPC, "no-space", "does not fit") /* too long, or more than the maximum number */
CMX_ERROR(CMX_ESIG, "signature", "signature or digest mismatch")
CMX_ERROR(CMX_EDOWNGRADE, "downgrade", "older than allowed") /* older than the oldest version that is accepted */
CMX_ERROR(CMX_EPROTO, "protocol", "protocol violated")
CMX_ERROR(CMX_ENOMEM, "no-memory", "out of memory or sockets")
CMX_ERROR(CMX_EIO, "io", "storage or hardware failed")
CMX_ERROR(CMX_EINTERNAL, "internal", "internal error") /* a bug in cmxsafe */
/* clang-format on */
#undef CMX_ERROR
