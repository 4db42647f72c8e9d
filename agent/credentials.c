#include "agent/credentials.h"

#include "cmxsafe/core/secret.h"
#include "cmxsafe/proxy/ssh_options.h"

#define STACK_BURNT 16384 /* libssh and OpenSSL use some 10 KB of stack to read a key */

__attribute__((noinline)) void credentials_forget(void)
{
    char below[STACK_BURNT];

    cmx_secret_wipe(below, sizeof below);
}

cmx_err credentials_check(const struct agent_config *c, struct cmx_why *why)
{
    struct cmx_gateway gateway;
    cmx_err err;

    config_gateway(c, &gateway);
    err = cmx_ssh_options_check(&gateway, why);
    credentials_forget();
    return err;
}
