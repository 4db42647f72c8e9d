/* gw_idsock.h - identity sockets: each session's sshd runs in a cgroup of its own, and eBPF programs
 * (gateway/bpf/idsock.bpf.c) bind its outgoing connections to the session's identity and permit it to listen only on
 * that identity. A session whose cgroup has no identity yet can neither connect nor listen.
 *
 * The programs live as long as this object. Sessions must not outlive it: without the programs, their connections have
 * no identity, and the packet filter refuses those. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/why.h"
#include "gateway/bpf/idsock.h"
#include "gateway/registry/registry_device.h"

struct gw_idsock;

/* Makes the cgroup of the sessions below this process's own, loads the programs and attaches them. Needs CAP_BPF and
 * CAP_NET_ADMIN, which the caller gives up afterwards. As root, the process moves into a new cgroup, which uid owns; an
 * unprivileged caller must own its cgroup (systemd: Delegate=yes). CMX_ENOTSUP: no cgroups (v2), or the kernel refuses
 * the programs; e says which. */
CMX_MUST_USE cmx_err gw_idsock_open(struct gw_idsock **out, uid_t uid, gid_t gid, struct cmx_why *e);
/* Checks as root whether gw_idsock_open works on this machine: loads the programs, attaches them to a new, empty
 * cgroup, and removes it again. After a failure, e says why gw_idsock_open would fail. */
CMX_MUST_USE cmx_err gw_idsock_probe(struct cmx_why *e);
/* Ends every process in the sessions' cgroups, and removes them. NULL is fine. */
void gw_idsock_close(struct gw_idsock *s);
/* For root, after the server that this process started has ended: kills the processes left in the server's cgroup, and
 * removes it. */
void gw_idsock_forget_base(void);

/* Checks that all programs are still attached. CMX_ECLOSED: one is not. */
CMX_MUST_USE cmx_err gw_idsock_check(const struct gw_idsock *s, struct cmx_why *e);

/* Makes a new cgroup for a session; number is unique while the server lives. *procs receives a descriptor, which the
 * caller closes: a process that writes "0" to it moves into the cgroup. */
CMX_MUST_USE cmx_err gw_idsock_session_add(struct gw_idsock *s, uint64_t number, int *procs, struct cmx_why *e);
/* Sets the session's identity: the address and ports of d. */
CMX_MUST_USE cmx_err gw_idsock_session_set(struct gw_idsock *s, uint64_t number, const struct gw_device *d,
                                           struct cmx_why *e);
/* Removes the identity and kills the processes in the cgroup. Safe to call again. */
void gw_idsock_session_end(struct gw_idsock *s, uint64_t number);
/* Like gw_idsock_session_end, and removes the cgroup if its processes are gone. */
void gw_idsock_session_remove(struct gw_idsock *s, uint64_t number);
/* Removes cgroups of sessions that are gone; call it now and then. */
typedef bool (*gw_idsock_alive_fn)(void *arg, uint64_t number);
void gw_idsock_tidy(struct gw_idsock *s, gw_idsock_alive_fn alive, void *arg);
/* Returns the number of the session whose cgroup holds the process; 0: none. */
uint64_t gw_idsock_session_of(const struct gw_idsock *s, pid_t pid);

/* Returns a descriptor that is readable when connections were established or closed; borrowed. */
int gw_idsock_events_fd(const struct gw_idsock *s);
typedef void (*gw_idsock_event_fn)(void *arg, const struct idsock_event *e);
/* Calls fn for each event. Returns how many events were lost since the start because the buffer was full. */
uint64_t gw_idsock_events(struct gw_idsock *s, gw_idsock_event_fn fn, void *arg);
