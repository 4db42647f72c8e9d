#include "gateway/render/gw_units.h"

#include <string.h>

#include "gateway/render/gw_bird.h"

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

/* No mount namespace: what 'net up' mounts (/run/netns) has to be the host's. */
static const char guard_unit[] =
    "# Written by 'cmxsafe gateway init'. Restores rules, routes and links that others remove, and reports it to the "
    "gateway.\n"
    "[Unit]\n"
    "Description=cmxsafe gateway: watch of the fleet's rules\n"
    "Requires=cmxsafe-gateway-net.service\n"
    "After=cmxsafe-gateway-net.service\n"
    "PartOf=cmxsafe-gateway-net.service\n"
    "StartLimitIntervalSec=0\n"
    "\n"
    "[Service]\n"
    "Type=notify\n"
    "ExecStartPre=%s gateway net up --dir %s\n"
    "ExecStart=%s gateway net watch --dir %s\n"
    "Restart=always\n"
    "RestartSec=1\n"
    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_ADMIN CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID "
    "CAP_SETGID\n"
    "NoNewPrivileges=yes\n"
    "RestrictRealtime=yes\n"
    "RestrictSUIDSGID=yes\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
    "SystemCallArchitectures=native\n"
    "MemoryDenyWriteExecute=yes\n"
    "LockPersonality=yes\n";

static const char bird_unit[] =
    "# Written by 'cmxsafe gateway init'. Tells the other gateways of the fleet who is connected here.\n"
    "[Unit]\n"
    "Description=cmxsafe gateway: routes between gateways\n"
    "Documentation=man:bird(8)\n"
    "Requires=cmxsafe-gateway-net.service\n"
    "After=cmxsafe-gateway-net.service\n"
    "PartOf=cmxsafe-gateway-net.service\n"
    "# A gateway that is alone has none.\n"
    "ConditionPathExists=%s/bird.conf\n"
    "StartLimitIntervalSec=0\n"
    "\n"
    "[Service]\n"
    "NetworkNamespacePath=/run/netns/" GW_NETNS "\n"
    "ExecStart=/usr/sbin/bird -f -u bird -g bird -c %s/bird.conf -s %s/" GW_BIRD_CONTROL "\n"
    "Restart=always\n"
    "RestartSec=1\n"
    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_NET_BROADCAST CAP_CHOWN CAP_FOWNER "
    "CAP_SETUID CAP_SETGID\n"
    "NoNewPrivileges=yes\n"
    "ProtectSystem=strict\n"
    "ReadWritePaths=%s/run\n"
    "ProtectHome=yes\n"
    "PrivateTmp=yes\n"
    "PrivateDevices=yes\n"
    "ProtectKernelModules=yes\n"
    "ProtectControlGroups=yes\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
    "SystemCallArchitectures=native\n"
    "MemoryDenyWriteExecute=yes\n"
    "LockPersonality=yes\n";

static const char service_unit[] =
    "# Written by 'cmxsafe gateway init'.\n"
    "[Unit]\n"
    "Description=cmxsafe gateway: devices' SSH sessions\n"
    "Documentation=man:cmxsafe-gateway(1)\n"
    "%s"
    "Requires=cmxsafe-gateway.socket\n"
    "# Restarts for as long as it takes: after a limit the socket would stay down, too.\n"
    "StartLimitIntervalSec=0\n"
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
    "# The address may come after boot (DHCP).\n"
    "FreeBind=yes\n"
    "TriggerLimitIntervalSec=0\n"
    "Backlog=4096\n"
    "KeepAlive=yes\n"
    "NoDelay=yes\n"
    "\n"
    "[Install]\n"
    "WantedBy=sockets.target\n";

static const char metrics_unit[] =
    "# Written by 'cmxsafe gateway init'. For the textfile collector of prometheus-node-exporter; enable the timer.\n"
    "[Unit]\n"
    "Description=cmxsafe gateway: metrics in a file\n"
    "Documentation=man:cmxsafe-gateway(1)\n"
    "ConditionPathIsDirectory=" GW_METRICS_FOLDER "\n"
    "\n"
    "[Service]\n"
    "Type=oneshot\n"
    "ExecStart=%s gateway metrics --dir %s --file " GW_METRICS_FOLDER "/cmxsafe.prom\n"
    "NoNewPrivileges=yes\n"
    "ProtectSystem=strict\n"
    "ReadWritePaths=" GW_METRICS_FOLDER "\n"
    "ProtectHome=yes\n"
    "PrivateTmp=yes\n"
    "PrivateDevices=yes\n"
    "PrivateNetwork=yes\n"
    "ProtectKernelTunables=yes\n"
    "ProtectKernelModules=yes\n"
    "ProtectControlGroups=yes\n"
    "RestrictNamespaces=yes\n"
    "RestrictRealtime=yes\n"
    "RestrictSUIDSGID=yes\n"
    "RestrictAddressFamilies=AF_UNIX\n"
    "CapabilityBoundingSet=CAP_DAC_OVERRIDE\n"
    "SystemCallFilter=@system-service\n"
    "SystemCallArchitectures=native\n"
    "MemoryDenyWriteExecute=yes\n"
    "LockPersonality=yes\n";

static const char metrics_timer[] = "# Written by 'cmxsafe gateway init'.\n"
                                    "[Unit]\n"
                                    "Description=cmxsafe gateway: metrics in a file, twice a minute\n"
                                    "\n"
                                    "[Timer]\n"
                                    "OnActiveSec=1s\n"
                                    "OnUnitActiveSec=30s\n"
                                    "AccuracySec=1s\n"
                                    "\n"
                                    "[Install]\n"
                                    "WantedBy=timers.target\n";

void gw_unit_text(FILE *f, const struct gw *g, const char *which, const char *program)
{
    static const char netns[] =
        "NetworkNamespacePath=/run/netns/" GW_NETNS "\n"
        "# A control group for each session, below its own. The capabilities load the programs\n"
        "# that give sessions their identities; the gateway drops them before it accepts.\n"
        "Delegate=yes\n"
        "AmbientCapabilities=CAP_BPF CAP_NET_ADMIN\n"
        "CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN\n";

    if (strcmp(which, "net") == 0)
        fprintf(f, net_unit, program, g->dir, program, g->dir);
    else if (strcmp(which, "guard") == 0)
        fprintf(f, guard_unit, program, g->dir, program, g->dir);
    else if (strcmp(which, "metrics") == 0)
        fprintf(f, metrics_unit, program, g->dir);
    else if (strcmp(which, "metrics-timer") == 0)
        fputs(metrics_timer, f);
    else if (strcmp(which, "bird") == 0)
        fprintf(f, bird_unit, g->dir, g->dir, g->dir, g->dir);
    else if (strcmp(which, "socket") == 0)
        fprintf(f, socket_unit, strncmp(g->listen, "[::]:", 5) == 0 ? g->listen + 5 : g->listen);
    else
        fprintf(f, service_unit,
                g->simple ? ""
                          : "Requires=cmxsafe-gateway-net.service\nAfter=cmxsafe-gateway-net.service\n"
                            "Wants=cmxsafe-gateway-guard.service cmxsafe-gateway-bird.service\n",
                program, g->dir, program, g->dir, g->account, g->account,
                g->simple ? "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
                            "ProtectControlGroups=yes\n"
                          : netns,
                g->dir);
}
