#include "cmxsafe/proxy/ssh.h"

#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/proxy_limits.h"
#include "cmxsafe/proxy/ssh_auth.h"
#include "cmxsafe/proxy/ssh_id.h"
#include "cmxsafe/proxy/ssh_options.h"

#define READS_PER_PROCESS 16 /* maximum number of reads of the SSH socket before the local sockets are served */

struct cmx_ssh {
    ssh_session session;
    ssh_event event;
    const struct cmx_gateway *gateway;
    int fd;
    bool taken;       /* libssh owns fd */
    bool established; /* the handshake is complete */
    bool ping_sent;
    bool overrun;    /* the peer sent far more than its window permits */
    unsigned unread; /* packets that libssh queued since its output was last sent completely */
    struct cmx_ssh_auth auth;
    struct ssh_counter_struct counter; /* bytes sent and received */
    struct ssh_counter_struct packets;
    struct cmx_ssh_id id;
};

struct cmx_ssh_channel {
    struct cmx_ssh *ssh;
    ssh_channel channel;
    bool close_sent;
    const struct cmx_ssh_handlers *handlers;
    void *arg;
    struct ssh_channel_callbacks_struct callbacks;
};

const char *cmx_proxy_library(void)
{
    return ssh_version(0);
}

const char *cmx_ssh_error_text(struct cmx_ssh *s)
{
    return ssh_get_error(s->session);
}

int cmx_ssh_fd(const struct cmx_ssh *s)
{
    return s->taken ? ssh_get_fd(s->session) : s->fd;
}

uint64_t cmx_ssh_received(const struct cmx_ssh *s)
{
    return s->counter.in_bytes;
}

bool cmx_ssh_wants_write(const struct cmx_ssh *s)
{
    /* Once the session is up, ask libssh whether it holds unsent bytes. libssh's poll flags are no substitute: while
     * bytes keep arriving, libssh leaves POLLOUT set although the socket is not full. */
    int flags = s->established ? ssh_get_status(s->session) : ssh_get_poll_flags(s->session);

    return (flags & SSH_WRITE_PENDING) != 0;
}

/* ---- set-up ---- */

cmx_err cmx_ssh_new(struct cmx_ssh **out, const struct cmx_gateway *gateway, unsigned types, int fd)
{
    struct cmx_ssh *s = cmx_mem_alloc(sizeof *s);
    cmx_err err = CMX_ENOMEM;

    *out = NULL;
    if (!s) {
        close(fd);
        return CMX_ENOMEM;
    }
    s->gateway = gateway;
    s->fd = fd;
    ssh_init();
    s->session = ssh_new();
    s->event = ssh_event_new();
    if (s->session && s->event)
        err = cmx_ssh_options_set(s->session, gateway, types);
    if (!err && ssh_options_set(s->session, SSH_OPTIONS_FD, &fd) != SSH_OK)
        err = CMX_EINVAL;
    if (err) {
        cmx_ssh_free(s);
        return err;
    }
    ssh_set_blocking(s->session, 0);
    ssh_set_counters(s->session, &s->counter, &s->packets);
    *out = s;
    return CMX_OK;
}

void cmx_ssh_set_pair(struct cmx_ssh *s, cmx_pair_fn pair, void *arg)
{
    s->id.pair = pair;
    s->id.pair_arg = arg;
}

void cmx_ssh_free(struct cmx_ssh *s)
{
    if (!s)
        return;
    /* If cmx_ssh_new failed, session and event may be NULL, which libssh's functions accept. */
    cmx_ssh_id_close(&s->id, s->session);
    ssh_event_remove_session(s->event, s->session);
    ssh_event_free(s->event);
    if (s->taken) {
        /* ssh_disconnect does not close a descriptor that was set with SSH_OPTIONS_FD. Setting NULL returns an error,
         * but clears the option, so that ssh_disconnect closes the descriptor. */
        (void)ssh_options_set(s->session, SSH_OPTIONS_FD, NULL);
        ssh_disconnect(s->session);
    } else {
        close(s->fd);
    }
    ssh_free(s->session);
    cmx_ssh_auth_free(&s->auth);
    cmx_mem_free(s);
}

/* ---- login ---- */

/* True if the two sides have no algorithm in common, for example no type of host key. The connection is then closed,
 * and only libssh's message distinguishes this from a gateway that disconnected. */
static bool nothing_in_common(ssh_session session)
{
    return strstr(ssh_get_error(session), "no match for method") != NULL;
}

bool cmx_ssh_no_host_key(const struct cmx_ssh *s)
{
    return strstr(ssh_get_error(s->session), "no match for method server host key") != NULL;
}

cmx_err cmx_ssh_handshake(struct cmx_ssh *s)
{
    int rc;
    int flags;

    s->taken = true;
    rc = ssh_connect(s->session);
    if (rc == SSH_AGAIN)
        return CMX_EAGAIN;
    if (rc != SSH_OK)
        return ssh_get_fd(s->session) < 0 && !nothing_in_common(s->session) ? CMX_ECLOSED : CMX_EPROTO;
    /* libssh has made the socket blocking. Undo this, because a blocking send would stop every relay. */
    flags = fcntl(s->fd, F_GETFL, 0);
    if (flags < 0 || fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return CMX_EIO;
    s->established = true;
    return ssh_event_add_session(s->event, s->session) == SSH_OK ? CMX_OK : CMX_ENOMEM;
}

cmx_err cmx_ssh_host_key(struct cmx_ssh *s, uint8_t digest[CMX_SHA256_LEN], const char **type)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t len = 0;
    cmx_err err = CMX_EPROTO;

    if (ssh_get_server_publickey(s->session, &key) != SSH_OK)
        return CMX_EPROTO;
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == 0 && len == 32) {
        memcpy(digest, hash, CMX_SHA256_LEN);
        *type = ssh_key_type_to_char(ssh_key_type(key));
        err = CMX_OK;
    }
    ssh_clean_pubkey_hash(&hash);
    ssh_key_free(key);
    return err;
}

cmx_err cmx_ssh_authenticate(struct cmx_ssh *s)
{
    return cmx_ssh_auth_step(&s->auth, s->session, s->gateway, &s->id);
}

const char *cmx_ssh_auth_trouble(const struct cmx_ssh *s)
{
    return s->auth.trouble;
}

const char *cmx_ssh_key_exchange(const struct cmx_ssh *s)
{
    return ssh_get_kex_algo(s->session);
}

size_t cmx_ssh_session_id(const struct cmx_ssh *s, uint8_t out[CMX_PROXY_SESSION_ID_MAX])
{
    memcpy(out, s->id.id, s->id.len);
    return s->id.len;
}

cmx_err cmx_ssh_login_key(const struct cmx_ssh *s, uint8_t *out, size_t cap, size_t *len)
{
    const char *text = s->auth.public_half;

    return text ? cmx_base64_decode(out, cap, text, strlen(text), len) : CMX_ENOKEY;
}

/* True if the peer sends requests without reading the answers. before: number of packets that had been sent before the
 * last read. */
static bool is_flooded(struct cmx_ssh *s, uint64_t before)
{
    s->unread = cmx_ssh_wants_write(s) ? s->unread + (unsigned)(s->packets.out_packets - before) : 0;
    return s->unread > CMX_UNREAD_ANSWERS_MAX;
}

/* True if libssh had no memory for data of a channel. libssh then drops the data, and only the text of its error says
 * so: "channel_default_bufferize: Out of memory". */
static bool has_dropped(struct cmx_ssh *s)
{
    return strstr(ssh_get_error(s->session), "bufferize") != NULL;
}

cmx_err cmx_ssh_process(struct cmx_ssh *s)
{
    uint64_t before, packets;

    for (int i = 0; i < READS_PER_PROCESS; i++) {
        int rc;

        before = s->counter.in_bytes;
        packets = s->packets.out_packets;
        rc = ssh_event_dopoll(s->event, 0);
        if (rc == SSH_ERROR)
            return CMX_ECLOSED;
        if (s->overrun || is_flooded(s, packets))
            return CMX_EPROTO;
        if (has_dropped(s))
            return CMX_ENOMEM;
        if (rc == SSH_AGAIN || s->counter.in_bytes - before < CMX_SSH_READ)
            break;
    }
    return cmx_ssh_ended(s) ? CMX_ECLOSED : CMX_OK;
}

bool cmx_ssh_ended(const struct cmx_ssh *s)
{
    return !ssh_is_connected(s->session) || (ssh_get_status(s->session) & (SSH_CLOSED | SSH_CLOSED_ERROR));
}

/* ---- global requests ---- */

static cmx_err request_result(struct cmx_ssh *s, int rc)
{
    if (rc == SSH_OK)
        return CMX_OK;
    if (rc == SSH_AGAIN)
        return CMX_EAGAIN;
    return ssh_is_connected(s->session) && ssh_get_error_code(s->session) == SSH_REQUEST_DENIED ? CMX_EFORWARD
                                                                                                : CMX_ECLOSED;
}

cmx_err cmx_ssh_listen(struct cmx_ssh *s, const char *address, uint16_t port)
{
    return request_result(s, ssh_channel_listen_forward(s->session, address, port, NULL));
}

cmx_err cmx_ssh_cancel(struct cmx_ssh *s, const char *address, uint16_t port)
{
    return request_result(s, ssh_channel_cancel_forward(s->session, address, port));
}

cmx_err cmx_ssh_keepalive(struct cmx_ssh *s)
{
    cmx_err err;

    if (!s->ping_sent) {
        s->ping_sent = true;
        return ssh_send_keepalive(s->session) == SSH_OK ? CMX_EAGAIN : CMX_ECLOSED;
    }
    /* ssh_send_keepalive does not report whether the answer has arrived. While a global request is pending, any other
     * request function sends nothing and reports the state of the pending request. */
    err = request_result(s, ssh_channel_cancel_forward(s->session, "localhost", 0));
    if (err != CMX_EAGAIN)
        s->ping_sent = false;
    return err == CMX_EFORWARD ? CMX_OK : err;
}

/* ---- channels ---- */

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t len, int is_stderr, void *arg)
{
    struct cmx_ssh_channel *c = arg;

    (void)session;
    (void)channel;
    if (len > CMX_RELAY_BACKLOG_MAX)
        c->ssh->overrun = true;
    /* When bytes are consumed, libssh sends WINDOW_ADJUST, which must not follow our CLOSE (RFC 4254 section 5.3).
     * Bytes that arrive after our CLOSE (at most one window) therefore stay in libssh until the channel is freed. */
    if (c->close_sent)
        return 0;
    if (is_stderr) /* a forwarded connection has no second stream (RFC 4254 section 7.2): discard it */
        return (int)len;
    return (int)c->handlers->data(c->arg, data, len);
}

static void on_eof(ssh_session session, ssh_channel channel, void *arg)
{
    struct cmx_ssh_channel *c = arg;

    (void)session;
    (void)channel;
    c->handlers->eof(c->arg);
}

static void on_close(ssh_session session, ssh_channel channel, void *arg)
{
    struct cmx_ssh_channel *c = arg;

    (void)session;
    (void)channel;
    c->handlers->closed(c->arg);
}

/* Creates a channel: accepts the one that the gateway requests with this message, or prepares a new one if message is
 * NULL. CMX_ENOMEM: no memory, and the message has not been answered; CMX_ECLOSED: libssh could not create the
 * channel. */
static cmx_err channel_make(struct cmx_ssh *s, ssh_message message, const struct cmx_ssh_handlers *handlers, void *arg,
                            struct cmx_ssh_channel **out)
{
    struct cmx_ssh_channel *c = cmx_mem_alloc(sizeof *c);

    *out = NULL;
    if (!c)
        return CMX_ENOMEM;
    c->ssh = s;
    c->handlers = handlers;
    c->arg = arg;
    ssh_callbacks_init(&c->callbacks);
    c->callbacks.userdata = c;
    c->callbacks.channel_data_function = on_data;
    c->callbacks.channel_eof_function = on_eof;
    c->callbacks.channel_close_function = on_close;
    c->channel = message ? ssh_message_channel_request_open_reply_accept(message) : ssh_channel_new(s->session);
    if (!c->channel || ssh_add_channel_callbacks(c->channel, &c->callbacks) != SSH_OK) {
        cmx_ssh_channel_free(c);
        return CMX_ECLOSED;
    }
    *out = c;
    return CMX_OK;
}

cmx_err cmx_ssh_next_open(struct cmx_ssh *s, cmx_ssh_open **out, unsigned *alien)
{
    *out = NULL;
    if (s->overrun)
        return CMX_EPROTO;
    while ((*out = ssh_message_get(s->session)) != NULL) {
        if (ssh_message_type(*out) == SSH_REQUEST_CHANNEL_OPEN &&
            ssh_message_subtype(*out) == SSH_CHANNEL_FORWARDED_TCPIP)
            break;
        ++*alien;
        cmx_ssh_refuse(*out);
    }
    return CMX_OK;
}

const char *cmx_ssh_open_address(cmx_ssh_open *o)
{
    const char *a = ssh_message_channel_request_open_destination(o);

    return a ? a : "";
}

uint16_t cmx_ssh_open_port(cmx_ssh_open *o)
{
    return (uint16_t)ssh_message_channel_request_open_destination_port(o);
}

const char *cmx_ssh_open_originator(cmx_ssh_open *o)
{
    const char *a = ssh_message_channel_request_open_originator(o);

    return a ? a : "";
}

uint32_t cmx_ssh_open_originator_port(cmx_ssh_open *o)
{
    return (uint32_t)ssh_message_channel_request_open_originator_port(o);
}

cmx_err cmx_ssh_accept(struct cmx_ssh *s, cmx_ssh_open *o, const struct cmx_ssh_handlers *handlers, void *arg,
                       struct cmx_ssh_channel **out)
{
    cmx_err err = channel_make(s, o, handlers, arg, out);

    if (err == CMX_ENOMEM)
        cmx_ssh_refuse(o);
    else
        ssh_message_free(o);
    return err;
}

void cmx_ssh_refuse(cmx_ssh_open *o)
{
    ssh_message_reply_default(o);
    ssh_message_free(o);
}

cmx_err cmx_ssh_channel_new(struct cmx_ssh *s, const struct cmx_ssh_handlers *handlers, void *arg,
                            struct cmx_ssh_channel **out)
{
    return channel_make(s, NULL, handlers, arg, out);
}

cmx_err cmx_ssh_channel_connect(struct cmx_ssh_channel *c, const char *host, uint16_t port)
{
    ssh_session session = ssh_channel_get_session(c->channel);
    int rc = ssh_channel_open_forward(c->channel, host, port, "127.0.0.1", 0);

    if (rc == SSH_OK)
        return CMX_OK;
    if (rc == SSH_AGAIN)
        return CMX_EAGAIN;
    if (!ssh_is_connected(session))
        return CMX_ECLOSED;
    /* Only the text of libssh's error contains the gateway's reason code (RFC 4254 section 5.1). Reason 1 is
     * SSH_OPEN_ADMINISTRATIVELY_PROHIBITED. */
    return strstr(ssh_get_error(session), "error (1)") ? CMX_EPERM : CMX_EREFUSED;
}

size_t cmx_ssh_channel_window(const struct cmx_ssh_channel *c)
{
    return ssh_channel_window_size(c->channel);
}

cmx_err cmx_ssh_channel_write(struct cmx_ssh_channel *c, const uint8_t *data, size_t len, size_t *sent)
{
    int rc = ssh_channel_write(c->channel, data, (uint32_t)len);

    *sent = rc > 0 ? (size_t)rc : 0;
    return rc >= 0 ? CMX_OK : CMX_ECLOSED;
}

cmx_err cmx_ssh_channel_read(struct cmx_ssh_channel *c, uint8_t *out, size_t len)
{
    return ssh_channel_read_nonblocking(c->channel, out, (uint32_t)len, 0) == (int)len ? CMX_OK : CMX_EPROTO;
}

cmx_err cmx_ssh_channel_send_eof(struct cmx_ssh_channel *c)
{
    return ssh_channel_send_eof(c->channel) == SSH_ERROR ? CMX_ECLOSED : CMX_OK;
}

void cmx_ssh_channel_close(struct cmx_ssh_channel *c)
{
    ssh_channel_close(c->channel);
    c->close_sent = true;
}

void cmx_ssh_channel_free(struct cmx_ssh_channel *c)
{
    if (!c)
        return;
    if (c->channel) {
        ssh_remove_channel_callbacks(c->channel, &c->callbacks);
        ssh_channel_free(c->channel);
    }
    cmx_mem_free(c);
}
