#include <curl/curl.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cmxsafe/version.h"

int cmd_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        printf("usage: cmxsafe version\n\nPrints the version, and those of the libraries that it runs with.\n");
        return CLI_OK;
    }
    if (argc > 1)
        return cli_usage("cmxsafe version", "unexpected argument '%s'", argv[1]);
    printf("cmxsafe %s (OpenSSL %s, libcurl %s, SQLite %s)\n", CMX_VERSION, OpenSSL_version(OPENSSL_VERSION_STRING),
           curl_version_info(CURLVERSION_NOW)->version, sqlite3_libversion());
    return CLI_OK;
}
