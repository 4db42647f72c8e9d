#!/usr/bin/env bash
# The registry of a system gateway moves to PostgreSQL while the gateway is running. Changes by another gateway reach
# its packet filter. While PostgreSQL does not confirm that the gateway's copy is current, the filter allows nothing.
. "$(dirname "$0")/../gateway_system_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_postgres

pg_create db
pg_start db
URL=$(pg_url db)
system_gateway
serve_system
key a; key b
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
client a -N & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "no session"
gw migrate "$URL" >/dev/null || fail "migrate"
on other gw init --user --listen 127.0.0.1:1 --registry "$URL" >/dev/null || fail "init of the other gateway fails"
followed() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
wait_for 20 followed || fail "the registry is not followed"
connected cam-17 || fail "the session ended with the move"
ok "the registry moves while the gateway is running"

web one
on other gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
has() { gw show "$1" --json >/dev/null 2>&1; }
wait_for 10 has cam-18 || fail "the other gateway's device is not known"
open_b() { client b -N -R "[$(address_of cam-18)]:81:127.0.0.1:$WEB" & PIDS+=("$!"); wait_for 20 connected cam-18 || fail "cam-18 does not connect"; }
open_b
denied 1 http://cam-18.cmx:81/ || fail "a user reaches a device without a grant"
on other gw grant user:daemon cam-18:81 >/dev/null || fail "grant"
wait_for 10 gets 1 http://cam-18.cmx:81/ one || fail "the other gateway's grant has no effect here"
denied 2 http://cam-18.cmx:81/ || fail "another user reaches the device"
on other gw grant user:daemon cam-18:81 --remove >/dev/null || fail "grant --remove"
wait_for 10 denied 1 http://cam-18.cmx:81/ || fail "the end of the grant has no effect here"
ok "a grant by another gateway, and its removal, take effect here"

on other gw grant user:daemon cam-18:81 >/dev/null || fail "grant"
wait_for 10 gets 1 http://cam-18.cmx:81/ one || fail "the grant has no effect"
gw init --stale-after 6s >/dev/null || fail "init --stale-after"
pg_stop db
wait_for 40 gone cam-18 || fail "a session that cannot be confirmed continues"
closed() { [ -s "$GW/fleet.nft" ] && lacks "$(address_of cam-18)" "$GW/fleet.nft"; }
wait_for 10 closed || fail "the rules still allow something"
open_again() { ! lacks "$(address_of cam-18)" "$GW/fleet.nft"; }
for i in 1 2; do # without any login or change in between
    pg_start db
    wait_for 40 open_again || fail "the rules do not open again"
    pg_stop db
    wait_for 20 closed || fail "the rules stay open when PostgreSQL is away once more"
done
refused_login b -N || fail "a login succeeds although the copy is stale"
on other gw revoke cam-17 2>/dev/null && fail "a change succeeds while PostgreSQL is away"
pg_start db
wait_for 40 followed || fail "the registry is not followed after PostgreSQL is back"
open_b
wait_for 20 gets 1 http://cam-18.cmx:81/ one || fail "the rules do not open again"
on other gw revoke cam-18 >/dev/null || fail "revoke"
wait_for 10 gone cam-18 || fail "a revocation at the other gateway does not end the session"
wait_for 10 denied 1 http://cam-18.cmx:81/ || fail "a revoked device is reached"
ok "a stale copy allows nothing, and PostgreSQL's return opens again"
stop_gateway
