/* The configuration of the gateway's own sshd: forwards, and nothing else. Every line is explained, since a person
 * reads it. */
#include "cli/gateway/gw.h"

void gw_sshd_config(FILE *f, const struct gw *g, const char *helper)
{
    const char *dir = gw_inside_dir(g);

    fprintf(f,
            "# Written by 'cmxsafe gateway init'; run it again instead of editing this.\n"
            "\n"
            "# Who: one unprivileged account, keys only, looked up in the registry at every login.\n"
            "AllowUsers %s\n"
            "AuthenticationMethods publickey\n"
            "PubkeyAuthentication yes\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "AuthorizedKeysFile none\n"
            "AuthorizedKeysCommand %s %s %%f\n"
            "AuthorizedKeysCommandUser %s\n"
            "HostKey %s/hostkey_ed25519\n"
            "HostKey %s/hostkey_ecdsa\n"
            "\n",
            g->account, helper, dir, g->account, dir, dir);
    fprintf(f,
            "# What: TCP forwards alone. The registry narrows them for each key (permitlisten, permitopen).\n"
            "# MaxSessions 0 refuses every shell, command and subsystem.\n"
            "MaxSessions 0\n"
            "DisableForwarding no\n"
            "AllowTcpForwarding yes\n"
            "GatewayPorts %s\n"
            "AllowStreamLocalForwarding no\n"
            "AllowAgentForwarding no\n"
            "X11Forwarding no\n"
            "PermitTunnel no\n"
            "PermitTTY no\n"
            "PermitUserRC no\n"
            "PermitUserEnvironment no\n"
            "PermitRootLogin no\n"
            "\n",
            g->simple ? "no" : "clientspecified");
    fprintf(f, "# Fleets: many devices log in at once after an outage. 'cmxsafe gateway serve' accepts for sshd and "
               "keeps these\n"
               "# limits, for sshd itself applies MaxStartups only where it listens itself.\n"
               "MaxStartups 500:30:1000\n"
               "PerSourceMaxStartups 200\n"
               "LoginGraceTime 30\n"
               "MaxAuthTries 4\n"
               "\n"
               "# A peer that is silent for 30 s is gone.\n"
               "ClientAliveInterval 15\n"
               "ClientAliveCountMax 2\n"
               "TCPKeepAlive yes\n"
               "\n"
               "UseDNS no\n"
               "PrintMotd no\n"
               "PrintLastLog no\n"
               "Compression no\n"
               "PidFile none\n"
               "LogLevel VERBOSE\n");
}
