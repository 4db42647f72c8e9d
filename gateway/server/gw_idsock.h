/* gw_idsock.h - identity sockets: each session's sshd runs in a cgroup of its own, and eBPF programs
 * (gateway/bpf/idsock.bpf.c) bind its outgoing connections to the session's identity and permit it to listen only on
 * that identity. A session whose cgroup has no identity yet can neither connect nor listen.
 *
 * The programs stay attached as long as the struct gw_idsock exists. Sessions must not outlive it: without the
 * programs, new connections of a session have no identity, and the packet filter refuses them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/why.h"
#include "gateway/bpf/idsock.h"
#include "gateway/registry/registry_device.h"

struct gw_idsock;

/* Creates the cgroup of the sessions below this process's own cgroup, loads the programs and attaches them. Needs
 * CAP_BPF and CAP_NET_ADMIN, which the caller drops afterwards. If the caller is root, the process first moves into a
 * new cgroup that uid owns; an unprivileged caller must own its cgroup (systemd: Delegate=yes). CMX_ENOTSUP: the
 * machine has no cgroups (v2), or the kernel refuses the programs; e has the reason. */
CMX_MUST_USE cmx_err gw_idsock_open(struct gw_idsock **out, uid_t uid, gid_t gid, struct cmx_why *e);
/* Checks as root whether gw_idsock_open works on this machine: loads the programs, attaches them to a new, empty
 * cgroup, and removes this cgroup. After a failure, e has the reason why gw_idsock_open would fail. */
CMX_MUST_USE cmx_err gw_idsock_probe(struct cmx_why *e);
/* Ends every process in the sessions' cgroups, removes the cgroups, detaches the programs and frees s, which may be
 * NULL. */
void gw_idsock_close(struct gw_idsock *s);
/* Call this as root after the server that this process started has ended. Kills the processes that are left in the
 * server's cgroup, and removes the cgroup. */
void gw_idsock_forget_base(void);

/* Checks that all programs are still attached. CMX_ECLOSED: a program is no longer attached. */
CMX_MUST_USE cmx_err gw_idsock_check(const struct gw_idsock *s, struct cmx_why *e);

/* Creates a cgroup for a session. number: the session's number, unique while the server runs. *procs receives a
 * descriptor, which the caller closes; a process that writes "0" to it moves into the cgroup. */
CMX_MUST_USE cmx_err gw_idsock_session_add(struct gw_idsock *s, uint64_t number, int *procs, struct cmx_why *e);
/* Sets the session's identity: the address and ports of d. */
CMX_MUST_USE cmx_err gw_idsock_session_set(struct gw_idsock *s, uint64_t number, const struct gw_device *d,
                                           struct cmx_why *e);
/* Removes the session's identity and kills the processes in its cgroup. Further calls for the same session do no
 * harm. */
void gw_idsock_session_end(struct gw_idsock *s, uint64_t number);
/* Like gw_idsock_session_end, and also removes the cgroup if all its processes have ended. */
void gw_idsock_session_remove(struct gw_idsock *s, uint64_t number);
/* Removes the cgroups of sessions for which alive returns false. Call this regularly. */
typedef bool (*gw_idsock_alive_fn)(void *arg, uint64_t number);
void gw_idsock_tidy(struct gw_idsock *s, gw_idsock_alive_fn alive, void *arg);
/* Returns the number of the session in whose cgroup the process is; 0: in none. */
uint64_t gw_idsock_session_of(const struct gw_idsock *s, pid_t pid);

/* Returns a descriptor that is readable when there are events: connections that were established or closed. Do not
 * close it. */
int gw_idsock_events_fd(const struct gw_idsock *s);
typedef void (*gw_idsock_event_fn)(void *arg, const struct idsock_event *e);
/* Calls fn for each event. Returns the number of events that were lost since the start because the buffer was full. */
uint64_t gw_idsock_events(struct gw_idsock *s, gw_idsock_event_fn fn, void *arg);
