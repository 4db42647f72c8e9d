/* idsock.bpf.c - identity sockets for an unmodified sshd. The server attaches these programs to the cgroup that holds
 * the cgroups of all sessions, and fills the map `identities`.
 *
 * A session may connect from its own identity, listen on its own identity at its enrolled ports, and do nothing else
 * with IP sockets. A process whose cgroup is not in the map can neither connect nor bind an IP socket. The programs
 * return cgroup verdicts: 1 permits the call, 0 makes it fail with EPERM. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "idsock.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define DENY 0
#define ALLOW 1

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 131072);
    __type(key, __u64);
    __type(value, struct idsock_identity);
} identities SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 19);
} events SEC(".maps");

/* Number of events that did not fit into the ring buffer. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} lost SEC(".maps");

static struct idsock_identity *own_identity(void)
{
    __u64 id = bpf_get_current_cgroup_id();

    return bpf_map_lookup_elem(&identities, &id);
}

/* Forwards need only TCP sockets; all other IP sockets are denied. */
SEC("cgroup/sock_create")
int idsock_create(struct bpf_sock *sk)
{
    return sk->type == SOCK_STREAM && (sk->protocol == 0 || sk->protocol == IPPROTO_TCP) ? ALLOW : DENY;
}

SEC("cgroup/connect6")
int idsock_connect6(struct bpf_sock_addr *ctx)
{
    struct idsock_identity *own = own_identity();
    struct sockaddr_in6_ {
        __u16 family;
        __be16 port;
        __be32 flowinfo;
        __u8 address[IDSOCK_ADDRESS_LEN];
        __u32 scope;
    } source = {.family = AF_INET6};

    /* A connection to an IPv4-mapped destination would use an IPv4 source address, which is not an identity. */
    if (!own || ctx->type != SOCK_STREAM ||
        (ctx->user_ip6[0] == 0 && ctx->user_ip6[1] == 0 && ctx->user_ip6[2] == bpf_htonl(0xffff)))
        return DENY;
    __builtin_memcpy(source.address, own->address, sizeof source.address);
    /* bpf_bind fails for a socket that is bound already; the connect call is then refused. */
    return bpf_bind(ctx, (struct sockaddr *)&source, sizeof source) == 0 ? ALLOW : DENY;
}

SEC("cgroup/bind6")
int idsock_bind6(struct bpf_sock_addr *ctx)
{
    struct idsock_identity *own = own_identity();
    __u16 port = bpf_ntohs((__u16)ctx->user_port);
    const __u32 *address;

    if (!own || ctx->type != SOCK_STREAM || port == 0)
        return DENY;
    address = (const __u32 *)own->address;
    if (ctx->user_ip6[0] != address[0] || ctx->user_ip6[1] != address[1] || ctx->user_ip6[2] != address[2] ||
        ctx->user_ip6[3] != address[3])
        return DENY;
    for (__u32 i = 0; i < IDSOCK_PORTS_MAX; i++)
        if (i < own->n_ports && own->ports[i] == port)
            return ALLOW;
    return DENY;
}

/* Identities are IPv6 addresses, so sessions must not use IPv4. */
SEC("cgroup/connect4")
int idsock_connect4(struct bpf_sock_addr *ctx)
{
    return DENY;
}

SEC("cgroup/bind4")
int idsock_bind4(struct bpf_sock_addr *ctx)
{
    return DENY;
}

SEC("cgroup/sendmsg4")
int idsock_sendmsg4(struct bpf_sock_addr *ctx)
{
    return DENY;
}

SEC("cgroup/sendmsg6")
int idsock_sendmsg6(struct bpf_sock_addr *ctx)
{
    return DENY;
}

static void report(struct bpf_sock_ops *ops, int active, int closed)
{
    struct idsock_event *e = bpf_ringbuf_reserve(&events, sizeof *e, 0);
    __u32 zero = 0;
    __u64 *n;

    if (!e) {
        n = bpf_map_lookup_elem(&lost, &zero);
        if (n)
            __sync_fetch_and_add(n, 1);
        return;
    }
    __builtin_memset(e, 0, sizeof *e);
    e->cookie = bpf_get_socket_cookie(ops);
    e->received = ops->bytes_received;
    e->sent = ops->bytes_acked;
    ((__u32 *)e->local)[0] = ops->local_ip6[0];
    ((__u32 *)e->local)[1] = ops->local_ip6[1];
    ((__u32 *)e->local)[2] = ops->local_ip6[2];
    ((__u32 *)e->local)[3] = ops->local_ip6[3];
    ((__u32 *)e->remote)[0] = ops->remote_ip6[0];
    ((__u32 *)e->remote)[1] = ops->remote_ip6[1];
    ((__u32 *)e->remote)[2] = ops->remote_ip6[2];
    ((__u32 *)e->remote)[3] = ops->remote_ip6[3];
    e->local_port = (__u16)ops->local_port;
    e->remote_port = (__u16)bpf_ntohl(ops->remote_port);
    e->active = (__u8)active;
    e->closed = (__u8)closed;
    bpf_ringbuf_submit(e, 0);
}

SEC("sockops")
int idsock_events(struct bpf_sock_ops *ops)
{
    if (ops->family != AF_INET6)
        return 1;
    switch (ops->op) {
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
        report(ops, ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, 0);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        if (ops->args[1] == BPF_TCP_CLOSE)
            report(ops, 0, 1);
        break;
    default:
        break;
    }
    return 1;
}

char idsock_license[] SEC("license") = "BSD";
