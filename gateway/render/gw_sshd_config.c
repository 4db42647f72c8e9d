/* The gateway's sshd permits TCP forwards and nothing else. The comments are for operators, who read the file. */
#include "gateway/render/gw_sshd_config.h"

void gw_sshd_config(FILE *f, const struct gw *g, const char *helper)
{
    const char *dir = gw_inside_dir(g);

    fprintf(f,
            "# Written by 'cmxsafe gateway init'; run it again instead of editing this.\n"
            "\n"
            "# Logins: one unprivileged account, only with keys, which sshd looks up in the registry at every login.\n"
            "AllowUsers %s\n"
            "AuthenticationMethods publickey\n"
            "PubkeyAuthentication yes\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "AuthorizedKeysFile none\n"
            "AuthorizedKeysCommand %s %s %%f %%t %%k\n"
            "AuthorizedKeysCommandUser %s\n"
            "RevokedKeys %s/krl\n"
            "HostKey %s/hostkey_ed25519\n"
            "HostKey %s/hostkey_ecdsa\n"
            "\n",
            g->account, helper, dir, g->account, dir, dir, dir);
    fprintf(f,
            "# Permissions: only TCP forwards. The registry restricts them for each key (permitlisten, permitopen).\n"
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
    fprintf(f, "# Many devices log in at once after an outage. 'cmxsafe gateway serve' accepts the connections and has "
               "limits of\n"
               "# its own; MaxStartups applies only where sshd listens itself.\n"
               "MaxStartups 500:30:1000\n"
               "PerSourceMaxStartups 200\n"
               "LoginGraceTime 30\n"
               "# sshd counts each key that a client offers, and an agent may hold many.\n"
               "MaxAuthTries 20\n"
               "\n"
               "# A connection that is silent for 30 s is closed.\n"
               "ClientAliveInterval 15\n"
               "ClientAliveCountMax 2\n"
               "TCPKeepAlive yes\n"
               "\n"
               "UseDNS no\n"
               "PrintMotd no\n"
               "PrintLastLog no\n"
               "Compression no\n"
               "PidFile none\n"
               "LogLevel VERBOSE\n"
               "# The peer's SSH software, which 'cmxsafe gateway list' shows.\n"
               "LogVerbose kex.c:kex_exchange_identification():*\n");
}
