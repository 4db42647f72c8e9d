#include "cmxsafe/proxy/ssh_id.h"

#include <libssh/libssh.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/poll.h"
#include "cmxsafe/proxy/pin.h"

/* Message numbers (draft-ietf-sshm-ssh-agent, section 5.1). */
enum { AGENT_FAILURE = 5, AGENT_REQUEST_IDENTITIES = 11, AGENT_IDENTITIES = 12, AGENT_SIGN_REQUEST = 13 };

#define BLOB_MAX CMX_PIN_BLOB_MAX
#define ANSWERS_MAX (BLOB_MAX + 32) /* bytes: enough for both answers of put_answers */
#define ASKED_MAX 1536              /* bytes: enough for both requests; the second contains the key blob twice */
#define ASKED_MS 1000               /* time limit for reading the requests, which libssh has already sent */

/* Writes the agent's two answers: a list of one identity, and a failure in reply to the signature request. */
static cmx_err put_answers(struct cmx_buf *b, const uint8_t *blob, size_t len)
{
    static const uint8_t one_identity[] = {AGENT_IDENTITIES, 0, 0, 0, 1};
    static const uint8_t end[] = {0, 0, 0, 0, /* the identity's comment is empty */
                                  0, 0, 0, 1, AGENT_FAILURE};

    cmx_buf_put_be32(b, (uint32_t)(sizeof one_identity + 4 + len + 4));
    cmx_buf_put(b, one_identity, sizeof one_identity);
    cmx_buf_put_be32(b, (uint32_t)len);
    cmx_buf_put(b, blob, len);
    return cmx_buf_put(b, end, sizeof end);
}

static cmx_err public_blob(ssh_key key, uint8_t out[BLOB_MAX], size_t *len)
{
    char *text = NULL;
    cmx_err err = CMX_ENOMEM;

    if (ssh_pki_export_pubkey_base64(key, &text) == SSH_OK)
        err = cmx_base64_decode(out, BLOB_MAX, text, strlen(text), len);
    ssh_string_free_char(text);
    return err;
}

/* Memory of open_pair. It is on the heap, because a device's stack has no room for two RSA keys. */
struct offer {
    uint8_t blob[BLOB_MAX];
    uint8_t mem[ANSWERS_MAX];
};

/* Creates the pair of sockets, writes the answers to one end and passes the other end to libssh. */
static cmx_err open_pair(struct cmx_ssh_id *s, ssh_session session, ssh_key key, struct offer *o)
{
    struct cmx_buf b;
    size_t len = 0;
    int pair[2];
    cmx_err err = public_blob(key, o->blob, &len);

    cmx_buf_init(&b, o->mem, sizeof o->mem);
    if (!err)
        err = put_answers(&b, o->blob, len);
    if (!err)
        err = s->pair ? s->pair(s->pair_arg, pair) : CMX_ENOTSUP;
    if (err)
        return err;
    s->fd = pair[0];
    s->lent = pair[1];
    s->asking = true;
    if (send(s->fd, cmx_buf_data(&b), cmx_buf_len(&b), 0) == (ssize_t)cmx_buf_len(&b) &&
        shutdown(s->fd, SHUT_WR) == 0 && ssh_set_agent_socket(session, s->lent) == SSH_OK)
        return CMX_OK;
    cmx_ssh_id_close(s, session);
    return CMX_EIO;
}

static cmx_err open_agent(struct cmx_ssh_id *s, ssh_session session, ssh_key key)
{
    struct offer *o = cmx_mem_alloc(sizeof *o);
    cmx_err err = o ? open_pair(s, session, key, o) : CMX_ENOMEM;

    cmx_mem_free(o);
    return err;
}

static cmx_err get_string(struct cmx_buf *b, const uint8_t **out, size_t *len)
{
    uint32_t n = 0;
    cmx_err err = cmx_buf_get_be32(b, &n);

    *len = n;
    return err ? err : cmx_buf_get_ptr(b, out, n);
}

size_t cmx_ssh_id_parse(const uint8_t *data, size_t len, uint8_t out[CMX_PROXY_SESSION_ID_MAX])
{
    static const uint8_t first[] = {0, 0, 0, 1, AGENT_REQUEST_IDENTITIES};
    const uint8_t *head, *blob, *text, *id;
    size_t n = 0, text_len = 0;
    struct cmx_buf b, signed_text;

    cmx_buf_init_view(&b, data, len);
    if (cmx_buf_get_ptr(&b, &head, sizeof first) || memcmp(head, first, sizeof first) != 0)
        return 0;
    if (cmx_buf_get_ptr(&b, &head, 5) || head[4] != AGENT_SIGN_REQUEST) /* head[4]: the type, after the length */
        return 0;
    if (get_string(&b, &blob, &n) || get_string(&b, &text, &text_len))
        return 0;
    cmx_buf_init_view(&signed_text, text, text_len);
    if (get_string(&signed_text, &id, &n) || n == 0 || n > CMX_PROXY_SESSION_ID_MAX)
        return 0;
    memcpy(out, id, n);
    return n;
}

/* Takes the socket that was passed to libssh away from libssh, and closes it here, so that libssh does not close it
 * again. Our socket then delivers end of file after the requests. */
static void take_back(struct cmx_ssh_id *s, ssh_session session)
{
    if (s->lent < 0)
        return;
    (void)ssh_set_agent_socket(session, (socket_t)-1); /* fails only if libssh has no agent socket */
    close(s->lent);
    s->lent = -1;
}

static void read_requests(struct cmx_ssh_id *s)
{
    uint8_t *mem = cmx_mem_alloc(ASKED_MAX);
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    size_t len = 0;

    while (mem && len < ASKED_MAX && poll(&p, 1, ASKED_MS) > 0) {
        ssize_t n = recv(s->fd, mem + len, ASKED_MAX - len, MSG_DONTWAIT);

        if (n <= 0)
            break;
        len += (size_t)n;
    }
    if (mem)
        s->len = cmx_ssh_id_parse(mem, len, s->id);
    cmx_mem_free(mem);
}

bool cmx_ssh_id_learn(struct cmx_ssh_id *s, ssh_session session, const char *user, ssh_key key)
{
    if (s->asked)
        return false;
    if (!s->asking && open_agent(s, session, key)) {
        s->asked = true;
        return false;
    }
    if (ssh_userauth_agent(session, user) == SSH_AUTH_AGAIN)
        return true;
    take_back(s, session);
    read_requests(s);
    cmx_ssh_id_close(s, session);
    s->asked = true;
    return false;
}

void cmx_ssh_id_close(struct cmx_ssh_id *s, ssh_session session)
{
    if (!s->asking)
        return;
    take_back(s, session);
    close(s->fd);
    s->asking = false;
}
