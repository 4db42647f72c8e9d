/* gw_folder.h - a gateway's folder: finds it, and reads the settings in its registry. The folder contains registry.db,
 * sshd_config, hostkey_*, hosts, fleet.nft, host.nft, apply.lock and run/ (control socket, lock and pid of the running
 * gateway). */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "gateway/registry/grant.h"
#include "gateway/registry/registry.h"
#include "gateway/registry/registry_device.h"

#define GW_SYSTEM_DIR "/var/lib/cmxsafe/gateway"
#define GW_INSIDE_DIR "/cmxsafe" /* --user mode mounts the folder here for sshd and its helper */
#define GW_NETNS "cmxsafe"       /* system mode's network namespace (ip netns) */
#define GW_RULE_PREF "1129"      /* priority of the host's routing rule and of the namespace's first routing rule */
#define GW_RULE_PREF_NUMBER 1129u
/* The namespace's routing table for permitted packets, except those that the following tables are for. */
#define GW_FLEET_TABLE "1129142"
/* The namespace's routing table for permitted packets to local users and units of this host. */
#define GW_LOCALS_TABLE "1129143"
/* Table GW_NODE_TABLE_FIRST + N of the namespace has the routes for packets to local users and units of gateway N. */
#define GW_NODE_TABLE_FIRST 1129200
#define GW_ACCOUNT "cmxsafe-gw"
#define GW_NOBODY 65534 /* group of the processes that talk to devices for the worker */
/* User of the same processes. No other program uses this id (systemd's list of ids leaves it unused), so only root can
 * trace them and use the gateway's identity. */
#define GW_UNUSED_UID 65533
#define GW_USER_UID 1000 /* the account's id inside --user mode's user namespace */
#define GW_PATH_MAX 4096
#define GW_DIR_MAX (GW_PATH_MAX - 64) /* leaves room for the paths of the folder's files */
#define GW_PROXIES_MAX 512
#define GW_LOCK_PATIENCE_MS 60000

#define GW_COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct gw {
    char dir[GW_DIR_MAX];
    struct gw_registry registry; /* open between gw_folder_open and gw_folder_close */
    bool user;                   /* --user mode, with user, mount and network namespaces of its own */
    bool simple;                 /* a small deployment, with loopback ports */
    struct gw_fleet fleet;       /* unset in a small deployment */
    char fleet_text[GW_ADDRESS_MAX + 4];
    char domain[GW_NAME_MAX];
    char account[GW_NAME_MAX];
    char listen[GW_HOST_MAX];     /* address and port on which devices' connections are accepted, such as "[::]:2222" */
    char proxies[GW_PROXIES_MAX]; /* addresses and prefixes of load balancers that send PROXY headers; "": none */
    char host[GW_HOST_MAX];       /* the host name or address that devices connect to */
    uint16_t port;
    bool locked; /* this process holds the gateway's lock */
    /* The registry may have a change that is not in force, stored by this process or by an earlier holder of the lock.
     * Set it to true after a change of the registry was committed, before it is applied (gw_apply_change). Set it to
     * false when the whole registry was applied and the running gateway has checked its sessions. */
    bool unsettled;
    int lock; /* the lock file's descriptor, if locked */
};

/* Sets g->dir and clears the rest of g. dir: the folder that the operator named. If dir is NULL, uses $CMXSAFE_GATEWAY.
 * If this variable is unset or empty, uses the user's own folder, but for root and without $HOME the system's folder.
 * CMX_EINVAL: dir is empty, or the folder's path can't be found or is too long. */
CMX_MUST_USE cmx_err gw_folder_find(struct gw *g, const char *dir, struct cmx_why *e);

/* Opens the registry in the folder that gw_folder_find chose, and reads the settings. If this process may write, also
 * repairs an interrupted write. Close with gw_folder_close, which is safe even after a failure. */
CMX_MUST_USE cmx_err gw_folder_open(struct gw *g, bool write, struct cmx_why *e);
void gw_folder_close(struct gw *g);
/* Acquires the gateway's lock, which gw_folder_unlock or gw_folder_close releases; does nothing if g has it already. A
 * command that changes the registry must acquire the lock before it reads the registry, and hold it until the change is
 * loaded into the kernel. CMX_EBUSY: another command held it for GW_LOCK_PATIENCE_MS. */
CMX_MUST_USE cmx_err gw_folder_lock(struct gw *g, struct cmx_why *e);
void gw_folder_unlock(struct gw *g);
/* True if no process holds the lock, and the registry may have changes that are not in force: an earlier holder was
 * killed or ended with g->unsettled set, and no later holder has applied the whole registry. */
bool gw_folder_is_abandoned(const struct gw *g);
/* True if the whole registry is in force, and no process holds the lock. */
bool gw_folder_is_settled(const struct gw *g);
/* Reads the settings from g->registry, which must be open. */
CMX_MUST_USE cmx_err gw_folder_load(struct gw *g, struct cmx_why *e);

/* Writes DIR/name to out and returns out. The path always fits, because g->dir is shorter than out. */
const char *gw_path(const struct gw *g, const char *name, char out[GW_PATH_MAX]);
/* Returns the folder's path as sshd and its helper see it: GW_INSIDE_DIR in --user mode, else g->dir. */
const char *gw_inside_dir(const struct gw *g);
/* Refuses a path with a character that sshd's configuration or a systemd unit would not take literally. CMX_EINVAL: the
 * path has a blank, a control character or one of " ' \ % # $. */
CMX_MUST_USE cmx_err gw_path_check(const char *path, struct cmx_why *e);
/* Writes the host name of a device: "cam-17.cmx", or "localhost" in a small deployment. */
void gw_device_host(const struct gw *g, const struct gw_device *d, char out[GW_HOST_MAX]);
/* Writes "SHA256:..." of the host key in DIR/name (a .pub file); "" if it can't be read. */
void gw_pin(const struct gw *g, const char *name, char out[GW_FINGERPRINT_MAX]);
/* Returns the mount point of control groups (v2), such as "/sys/fs/cgroup", or "" if they are not mounted. */
const char *gw_cgroup_root(void);
/* Writes the cgroup of a process, such as "/system.slice/nvr.service". file: the process's /proc/PID/cgroup. False:
 * unknown or too long. */
CMX_MUST_USE bool gw_cgroup_of(const char *file, char *out, size_t cap);
/* System mode: the addresses of the link between the host and the fleet's namespace. */
struct gw_link {
    char host[GW_ADDRESS_MAX];   /* the host's end */
    char inside[GW_ADDRESS_MAX]; /* the namespace's end */
};
CMX_MUST_USE cmx_err gw_link_get(struct gw *g, struct gw_link *l, struct cmx_why *e);
#define GW_NO_GID 2147483647 /* no group has this id */
/* Returns the group of the gateway's account; the fleet's packet filter permits this group's sockets to use identities.
 * GW_NO_GID: the account does not exist. */
long gw_account_gid(const struct gw *g);
