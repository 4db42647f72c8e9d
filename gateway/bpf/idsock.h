/* idsock.h - the layout of maps and events, shared by the eBPF programs (idsock.bpf.c) and the server (gw_idsock.c).
 */
#pragma once

#include <linux/types.h>

#define IDSOCK_ADDRESS_LEN 16 /* bytes of an IPv6 address */
#define IDSOCK_PORTS_MAX 32   /* maximum number of ports of a device */

/* Value of the map `identities`; the key is the id of a session's cgroup. */
struct idsock_identity {
    __u8 address[IDSOCK_ADDRESS_LEN];
    __u32 n_ports;
    __u16 ports[IDSOCK_PORTS_MAX]; /* host byte order */
    __u32 end; /* unused; `ports` must not be the last member: without CAP_PERFMON the kernel's BPF verifier rejects a
                  pointer to the end of a value */
};

/* A record of the ring buffer `events`: a TCP connection of a session was established or closed. */
struct idsock_event {
    __u64 cookie;   /* the kernel's cookie of the socket */
    __u64 received; /* bytes */
    __u64 sent;     /* bytes that the peer has acknowledged */
    __u8 local[IDSOCK_ADDRESS_LEN];
    __u8 remote[IDSOCK_ADDRESS_LEN];
    __u16 local_port;  /* host byte order */
    __u16 remote_port; /* host byte order */
    __u8 active; /* 1: the session opened the connection. 0: the session accepted it. Always 0 if `closed` is set. */
    __u8 closed;
    __u8 pad[2];
};
