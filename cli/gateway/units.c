#include "cli/gateway/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char net_unit[] = "# Written by 'cmxsafe gateway init'.\n"
                               "[Unit]\n"
                               "Description=Network namespace of the cmxsafe gateway\n"
                               "Before=cmxsafe-gateway.service\n"
                               "\n"
                               "[Service]\n"
                               "Type=oneshot\n"
                               "RemainAfterExit=yes\n"
                               "ExecStart=%s gateway net up --dir %s\n"
                               "ExecStop=%s gateway net down --dir %s\n";

static const char service_unit[] = "# Written by 'cmxsafe gateway init'.\n"
                                   "[Unit]\n"
                                   "Description=cmxsafe gateway: devices' SSH sessions\n"
                                   "Documentation=man:cmxsafe-gateway(1)\n"
                                   "%s"
                                   "Requires=cmxsafe-gateway.socket\n"
                                   "\n"
                                   "[Service]\n"
                                   "Type=notify\n"
                                   "# As root, once: heals a registry whose last write a power cut interrupted.\n"
                                   "ExecStartPre=+%s gateway net heal --dir %s\n"
                                   "ExecStart=%s gateway serve --dir %s\n"
                                   "User=%s\n"
                                   "Group=%s\n"
                                   "%s"
                                   "RuntimeDirectory=cmxsafe-gateway\n"
                                   "Restart=always\n"
                                   "RestartSec=1\n"
                                   "KillMode=control-group\n"
                                   "LimitNOFILE=524288\n"
                                   "TasksMax=infinity\n"
                                   "NoNewPrivileges=yes\n"
                                   "ProtectSystem=strict\n"
                                   "ReadWritePaths=%s/run\n"
                                   "ProtectHome=yes\n"
                                   "PrivateTmp=yes\n"
                                   "PrivateDevices=yes\n"
                                   "ProtectKernelTunables=yes\n"
                                   "ProtectKernelModules=yes\n"
                                   "ProtectControlGroups=yes\n"
                                   "ProtectKernelLogs=yes\n"
                                   "ProtectClock=yes\n"
                                   "ProtectHostname=yes\n"
                                   "RestrictNamespaces=yes\n"
                                   "RestrictRealtime=yes\n"
                                   "RestrictSUIDSGID=yes\n"
                                   "RemoveIPC=yes\n"
                                   "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
                                   "SystemCallFilter=~@mount @swap @reboot @module @raw-io @clock @cpu-emulation "
                                   "@debug @obsolete\n"
                                   "SystemCallArchitectures=native\n"
                                   "MemoryDenyWriteExecute=yes\n"
                                   "LockPersonality=yes\n"
                                   "\n"
                                   "[Install]\n"
                                   "WantedBy=multi-user.target\n";

static const char socket_unit[] =
    "# Written by 'cmxsafe gateway init'. Listens in the host's network: the fleet's namespace has no\n"
    "# way out, and gets nothing but the connections accepted here.\n"
    "[Unit]\n"
    "Description=cmxsafe gateway: where devices connect\n"
    "\n"
    "[Socket]\n"
    "ListenStream=%s\n"
    "Backlog=4096\n"
    "KeepAlive=yes\n"
    "NoDelay=yes\n"
    "\n"
    "[Install]\n"
    "WantedBy=sockets.target\n";

void gw_unit_text(FILE *f, const struct gw *g, const char *which, const char *program)
{
    /* The namespace has ports of its own, so no capability is needed at all. */
    static const char netns[] = "NetworkNamespacePath=/run/netns/" GW_NETNS "\nCapabilityBoundingSet=\n";

    if (strcmp(which, "net") == 0)
        fprintf(f, net_unit, program, g->dir, program, g->dir);
    else if (strcmp(which, "socket") == 0)
        fprintf(f, socket_unit, strncmp(g->listen, "[::]:", 5) == 0 ? g->listen + 5 : g->listen);
    else
        fprintf(f, service_unit,
                g->simple ? "" : "Requires=cmxsafe-gateway-net.service\nAfter=cmxsafe-gateway-net.service\n", program,
                g->dir, program, g->dir, g->account, g->account,
                g->simple ? "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
                          : netns,
                g->dir);
}

static cmx_err write_unit(const struct gw *g, const char *dir, const char *which, const char *file, const char *program,
                          struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    cmx_err err = CMX_OK;

    if (!f)
        return gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    gw_unit_text(f, g, which, program);
    if (fclose(f) != 0)
        err = gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (!err)
        err = gw_write_file(path, text, len, 0644, e);
    free(text); /* open_memstream's own */
    return err;
}

cmx_err gw_units_write(struct gw *g, struct gw_error *e)
{
    const char *dir = getenv("CMXSAFE_UNIT_DIR");
    char program[GW_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    cmx_err err = CMX_OK;
    const char *reload[] = {"systemctl", "daemon-reload", NULL};

    if (g->user || n <= 0 || (!dir && access("/etc/systemd/system", W_OK) != 0))
        return CMX_OK;
    program[n] = '\0';
    if (!g->simple)
        err = write_unit(g, dir ? dir : "/etc/systemd/system", "net", "cmxsafe-gateway-net.service", program, e);
    if (!err)
        err = write_unit(g, dir ? dir : "/etc/systemd/system", "socket", "cmxsafe-gateway.socket", program, e);
    if (!err)
        err = write_unit(g, dir ? dir : "/etc/systemd/system", "service", "cmxsafe-gateway.service", program, e);
    if (!err && !dir && access("/run/systemd/system", F_OK) == 0)
        (void)gw_run(true, reload); /* without it systemd says so itself at the next start */
    return err;
}
