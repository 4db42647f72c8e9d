/* relay_state.h - the state of one relay: an SSH channel on one side, a local TCP socket on the other.
 *
 * The phase is the relay's stage between its creation and its end. In addition each direction has a half-state, because
 * one direction may end while the other stays open (as in OpenSSH's nchan.c):
 *
 *   to local:    open   bytes may still arrive from the gateway
 *                drain  the gateway sent EOF or CLOSE; the rest waits for the local socket
 *                shut   all bytes and the end of file have been sent to the local socket
 *   to gateway:  open   the local socket is read
 *                drain  the local socket is at its end of file; the rest waits for the gateway
 *                shut   EOF is sent, or the gateway closed the channel
 *
 * The setters log every transition with the event that caused it. Nothing else writes phase, to_local or to_gateway. */
#pragma once

#include "cmxsafe/core/log.h"
#include "cmxsafe/proxy/peer.h"
#include "cmxsafe/proxy/session_state.h"

typedef enum {
    RELAY_TENTATIVE,  /* accepted during a probe: the first bytes show whether the connection is the probe */
    RELAY_LOOKUP,     /* waits for the address of the local service */
    RELAY_CONNECTING, /* connects to the local service */
    RELAY_OPENING,    /* direct: waits for the gateway's answer to our request to open a channel */
    RELAY_UNWANTED,   /* like RELAY_OPENING, but the relay was aborted */
    RELAY_OPEN,
    RELAY_CLOSING, /* our CLOSE was sent; waits for the gateway's CLOSE */
    RELAY_DEAD     /* the relay is to be freed */
} relay_phase;

typedef enum { HALF_OPEN, HALF_DRAIN, HALF_SHUT } half_state;

/* How the gateway ended the channel. */
typedef enum {
    END_IN_ORDER, /* the gateway sent CLOSE after both sides had sent EOF, or has not sent CLOSE yet */
    END_CUT,      /* the gateway sent EOF and CLOSE before the device had sent EOF */
    END_BROKEN    /* the gateway sent CLOSE without EOF */
} relay_end;

/* Bytes that wait to be sent to one side. */
struct relay_bytes {
    uint8_t *data; /* NULL: none */
    size_t len, off;
};

/* Invariants: OPEN has fd >= 0 and a channel; CLOSING has no fd but a channel; DEAD has neither fd nor `open`. `open`
 * is set only in LOOKUP and CONNECTING, and only while there is no channel. */
struct relay {
    struct relay *next;
    struct run *run;
    relay_phase phase;
    half_state to_local, to_gateway;
    relay_end end;
    bool close_received; /* the gateway's CLOSE has arrived */
    int fd;
    int poll_index;
    unsigned id; /* number of the relay in the log */
    cmx_ssh_open *open;
    struct cmx_ssh_channel *channel;
    struct cmx_lookup *lookup;      /* look-up of the service's name; owns `address`; NULL: none */
    const struct addrinfo *address; /* CONNECTING: the address that is being tried */
    cmx_err failed;                 /* why both sides must be reset; CMX_OK: no reset */
    size_t backlog;                 /* number of bytes for the local socket that wait inside libssh */
    struct relay_bytes spill;       /* bytes read from libssh that wait for the local socket */
    struct relay_bytes held;        /* bytes read from the local socket that wait for the gateway */
    uint64_t deadline_ms;           /* when the time limit of TENTATIVE, LOOKUP, CONNECTING or CLOSING ends */
    uint64_t active_ms;             /* time of the last byte in either direction */
    uint64_t stall_ms;              /* value of active_ms when a stall was last logged */
    uint64_t number; /* the connection's number in events; 0: not open yet, or its end has been reported */
    uint64_t created_ms;
    uint64_t bytes_in, bytes_out;
    bool rests, stirs;     /* rests: the relay is in s->resting; stirs: also in s->stirred */
    struct relay *before;  /* the previous relay in s->resting */
    struct relay *stirred; /* the next relay in s->stirred */
    struct tracked_socket socket;
    struct cmx_originator originator; /* client of a reverse relay */
    struct cmx_peer_entry peer;       /* in the list of peer.c while fd is connected or connecting to the service */
    char from[CMX_PROXY_ADDRESS_MAX]; /* address of the client; reverse: as the gateway reports it, cut to this size */
};

/* Creates a relay of r, adds it to the list of s and counts it. NULL: no memory. */
struct relay *cmx_relay_state_new(struct session *s, struct run *r, relay_phase phase);
/* Frees a relay and its channel. The relay must no longer be in a list. */
void cmx_relay_state_free(struct relay *x);

/* Changes the phase and keeps relays_open up to date. event: the cause in a few words, for the log. */
void cmx_relay_state_set_phase(struct relay *x, relay_phase phase, const char *event);
void cmx_relay_state_set_to_local(struct relay *x, half_state state, const char *event);
void cmx_relay_state_set_to_gateway(struct relay *x, half_state state, const char *event);

/* A build without debug messages does not contain the texts of the events. */
#define CMX_RELAY_EVENT(text) (CMX_LOG_COMPILED >= CMX_LOG_DEBUG ? (text) : NULL)
#define cmx_relay_state_set_phase(x, phase, event) (cmx_relay_state_set_phase)(x, phase, CMX_RELAY_EVENT(event))
#define cmx_relay_state_set_to_local(x, state, event) (cmx_relay_state_set_to_local)(x, state, CMX_RELAY_EVENT(event))
#define cmx_relay_state_set_to_gateway(x, state, event)                                                                \
    (cmx_relay_state_set_to_gateway)(x, state, CMX_RELAY_EVENT(event))

/* Call when x has an event: if x rests (relay_rest.h), the loop serves x again. The handlers of ssh.h may call this. */
void cmx_relay_state_stir(struct relay *x);
#define cmx_relay_state_stir(x) (CMX_RELAY_REST_MS ? (cmx_relay_state_stir)(x) : (void)0)

/* True if bytes from the gateway wait for the local socket, which is full or not connected yet. */
bool cmx_relay_state_has_backlog(const struct relay *x);

/* If no byte has moved through an open relay for CMX_RELAY_STALL_MS, logs once why it waits. */
void cmx_relay_state_log_stall(struct relay *x, const struct session *s);
