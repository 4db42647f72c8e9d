#include <curl/curl.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>

#include "cli/cmd.h"
#include "cmxsafe/version.h"
#include "port/linux/cli.h"

int cmd_version(int argc, char **argv)
{
    struct cli_line line = {
        .command = "cmxsafe version", .operands = "", .about = "Prints the version of cmxsafe and of its libraries."};
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    printf("cmxsafe %s (OpenSSL %s, libcurl %s, SQLite %s)\n", CMX_VERSION, OpenSSL_version(OPENSSL_VERSION_STRING),
           curl_version_info(CURLVERSION_NOW)->version, sqlite3_libversion());
    return CLI_OK;
}
