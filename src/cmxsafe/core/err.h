/* err.h - the one error type of cmxsafe. Zero is success; values are grouped by what the caller does about them.
 * The public ESP calls map a cmx_err to esp_err_t. */
#ifndef CMX_CORE_ERR_H
#define CMX_CORE_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_MUST_USE __attribute__((warn_unused_result))
#define CMX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum {
    CMX_OK = 0,

    /* Retry: the same call may succeed later. */
    CMX_EAGAIN,   /* would block, or not finished yet */
    CMX_ETIMEOUT, /* a deadline passed */
    CMX_EDNS,     /* the name did not resolve */
    CMX_EREFUSED, /* the peer refused the connection */
    CMX_EUNREACH, /* no route, host or network down */
    CMX_ECLOSED,  /* the peer closed, or the link was reset */
    CMX_EFORWARD, /* the gateway refused a forward (port still held, or not permitted) */
    CMX_EBUSY,    /* the resource is already in use */

    /* Reconfigure: the same call fails until a person changes something. */
    CMX_EINVAL,   /* an argument or a setting is not valid */
    CMX_EHOSTKEY, /* the gateway's host key is not one of the pinned ones */
    CMX_EAUTH,    /* the gateway refused every credential */
    CMX_ENOKEY,   /* no usable key: missing, wrong purpose, unreadable, or readable when it must not be */
    CMX_EPERM,    /* the platform or the policy does not permit it */
    CMX_ENOTSUP,  /* this build or platform does not have it */
    CMX_ENOENT,   /* no such file, slot, context or record */
    CMX_EEXIST,   /* already there */

    /* Give up on this input or operation. */
    CMX_EFORMAT,    /* bytes from outside do not have the form they must have */
    CMX_ETRUNC,     /* bytes from outside end too early */
    CMX_ENOSPC,     /* too long or too many for a bound */
    CMX_ESIG,       /* a signature, MAC or digest does not match */
    CMX_EDOWNGRADE, /* older than the oldest version that is accepted */
    CMX_EPROTO,     /* the peer broke the protocol */
    CMX_ENOMEM,     /* allocation failed */
    CMX_EIO,        /* storage or hardware failed */
    CMX_EINTERNAL   /* cannot happen: a defect */
} cmx_err;

/* A short stable word such as "host-key", for logs, JSON and tests. Never NULL. Any thread. */
const char *cmx_err_name(cmx_err err);

/* A short text for a person, without a full stop. Never NULL. Any thread. */
const char *cmx_err_text(cmx_err err);

#ifdef __cplusplus
}
#endif
#endif
