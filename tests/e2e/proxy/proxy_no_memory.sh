#!/usr/bin/env bash
# If libssh finds no memory for received data, it drops the data without a message. The session must then end: a stream in
# which bytes are missing must not look complete to the service.
. "$(dirname "$0")/../lib.sh"
grep -qE "__(asan|tsan)_init" "$BIN/proxy_run" && skip "no build without sanitizers, which must be loaded before other libraries"

S=$(free_port) R=$(free_port)
# While $TMP/full exists, libssh cannot enlarge a small buffer to 8 KB or more, such as that of a new channel.
cat >"$TMP/full.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *realloc(void *p, size_t n)
{
    static void *(*next)(void *, size_t);
    Dl_info caller;

    if (!next)
        next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    if (p && n >= 8192 && malloc_usable_size(p) < 512 && access(getenv("FULL"), F_OK) == 0 &&
        dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "libssh"))
        return NULL;
    return next(p, n);
}
C
cc -shared -fPIC -o "$TMP/full.so" "$TMP/full.c" -ldl || fail "no library"
cat >"$TMP/service.py" <<'P'
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    s, n = listener.accept()[0], 0
    try:
        while data := s.recv(65536):
            n += len(data)
        print("complete", n, flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
P
python3 "$TMP/service.py" "$S" >"$TMP/service" & PIDS+=($!)
send() { python3 -c "
import socket, time
s = socket.create_connection(('127.0.0.1', $R)); s.sendall(bytes(400000)); s.shutdown(socket.SHUT_WR)
s.settimeout(10)
try: s.recv(1)
except OSError: pass"; }
ended() { [ "$(wc -l <"$TMP/service")" = "$1" ]; } # ended N: succeeds if N connections of the service have ended

start_sshd </dev/null
export FULL=$TMP/full LD_PRELOAD=$TMP/full.so
start_proxy -- "one,$S,$R"
unset LD_PRELOAD
up
send
wait_for 10 ended 1 || fail "the first connection does not end"
[ "$(cat "$TMP/service")" = "complete 400000" ] || fail "with memory: $(cat "$TMP/service")"
touch "$FULL"
send
wait_for 20 ended 2 || fail "the second connection does not end"
[ "$(tail -n 1 "$TMP/service")" = reset ] || fail "without memory: $(cat "$TMP/service")"
rm "$FULL"
up
ok "a session that runs out of memory ends, and no stream with missing bytes looks complete"
quit_proxy
