/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every limit, timer and size of mvpn that is not part of a byte layout, in one place, each with its reason.
 * Units are in the name: _S seconds, _MS milliseconds, _B bytes; no suffix is a count.
 * BPF programs include this header too: plain integer constants only.
 */
#ifndef MVPN_LIMITS_H
#define MVPN_LIMITS_H

/* ---- channel (PROTOCOL §1) ---- */
#define MVPN_CHAN_PORT 7468		  /* default TCP port of the server ("PINT" on a keypad) */
#define MVPN_CHAN_FRAME_MAX_B 65535	  /* ciphertext length field is u16 */
#define MVPN_CHAN_PLAIN_MAX_B (65535 - 16) /* less the Poly1305 tag */
#define MVPN_CHAN_HANDSHAKE_S 5		  /* a handshake not finished by then is closed */
#define MVPN_CHAN_HALF_OPEN_MAX 4096	  /* over all sources */
#define MVPN_CHAN_HALF_OPEN_SRC_MAX 16	  /* for one source (/32 or /64) */
#define MVPN_CHAN_RATE_SRC 20		  /* handshakes a second for one source */
#define MVPN_CHAN_RATE_UNPROVEN 200	  /* handshakes a second that need no proof: 5 % of a core */
#define MVPN_CHAN_RATE_WORKED 300	  /* and of those who have worked: 8 % */
#define MVPN_CHAN_HEARTBEAT_S 20
#define MVPN_CHAN_DEAD_S 60		  /* no byte heard for so long: the channel is dead */
#define MVPN_CHAN_REKEY_S 3600		  /* new handshake, ±10 %, make-before-break */
#define MVPN_CHAN_RECONNECT_MAX_S 30	  /* full jitter below a doubling bound of at most this */
#define MVPN_CHAN_RETURN_PER_S 1000	  /* so many come back a second when the server has been away: a third of a core, which it may not have alone */
#define MVPN_CHAN_OUT_MAX_B (4 << 20)	  /* bytes queued to one channel; a reader slower than that is closed */

/* ---- delegation (a key on a token that signs for the one in use) ---- */
#define MVPN_DELEGATION_MAX_S 86400	/* PROTOCOL §2: what a stolen copy of the key in use is good for */
#define MVPN_DELEGATION_S 43200		/* asked for unless keyd.conf says otherwise: half, so that clocks may be half a day apart */
#define MVPN_DELEGATION_MIN_S 5
#define MVPN_DELEGATION_SKEW_S 3600	/* peers, which have no part in the agreement, do not count the last hour */

/* ---- introduction and session (PROTOCOL §3) ---- */
#define MVPN_INTRO_OPEN_S 2		/* B silent for so long: FAIL to A, CANCEL to B */
#define MVPN_INTRO_RETRY_S 3		/* A repeats the same nonce after so long */
#define MVPN_INTRO_TRIES 3		/* then the peer backs off for MVPN_INTRO_BACKOFF_S */
#define MVPN_INTRO_BACKOFF_S 5
#define MVPN_HSM_WAITING_MAX 64 /* Diffie-Hellmans that wait for a token: a slow card needs 30 s for them */
#define MVPN_INTRO_OPEN_MAX 4096	/* introductions under way in one keyd */
#define MVPN_ASK_RATE 400		/* messages a second by which one keyd asks about its peers: of the 500 that the server hears ... */
#define MVPN_ASK_BURST 100		/* ... so many at once, and a fifth of what it hears is left for all else */
#define MVPN_UNCONFIRMED_S 10		/* B's session that A never used is dropped */
#define MVPN_SESSION_REKEY_S 3600	/* ±10 %; the policy may say 600..86400 */
#define MVPN_SESSION_OLD_RX_S 60	/* old receive key kept after the new one is confirmed */
#define MVPN_SESSIONS_PEER_MAX 8	/* of one peer and layer: a peer that makes one after the other is no reason to keep all the old ones */
#define MVPN_SPI_QUARANTINE_S 120	/* an SPI slot is not used again for so long */
#define MVPN_MAX_OFFLINE_S 900		/* sessions outlive the server's last heartbeat by at most this */
#define MVPN_DENY_CACHE_S 30		/* a refusal is believed for so long, unless the policy changes */
#define MVPN_BUSY_WAIT_S 3		/* after BUSY the peer's own introduction is awaited so long */

/* ---- data path (PROTOCOL §4) ---- */
#define MVPN_SPI_SLOT_BITS 18		/* low bits of an SPI: two epochs of each of MVPN_PEERS_MAX peers */
#define MVPN_SPI_SLOTS (1 << MVPN_SPI_SLOT_BITS)
#define MVPN_LANES_MAX 16
#define MVPN_REPLAY_BITS 8192		/* window of one lane, RFC 6479 */
#define MVPN_GEN_PACKETS (1ULL << 26)	/* generation ratchet of the sender, by packets ... */
#define MVPN_GEN_PACKETS_JUMBO (1ULL << 25)
#define MVPN_GEN_S 120			/* ... or by time */
#define MVPN_GEN_PACKETS_MIN 16384	/* setting ratchet_packets: two replay windows, so that no packet in the window is
					 * older than one generation */
#define MVPN_GEN_SPARE 64		/* generations before the last at which a new session is asked for */
#define MVPN_REKEY_GAP_MS 1000		/* setting rekey_packets: a session lives so long at least, or the server would do nothing else */
#define MVPN_GEN_OLD_S 3		/* receiver keeps gen-1 for so long */
#define MVPN_OPEN_FAIL_MAX (1ULL << 36)	/* failed opens on one SPI before a rekey (RFC 9001 §6.6 takes the same bound) */
#define MVPN_HOLD_FLOW_PACKETS 64	/* held packets of one flow while its session is made */
#define MVPN_HOLD_FLOW_B (128 << 10)
#define MVPN_HOLD_PACKETS 1024		/* held packets of one worker, all flows */
#define MVPN_HOLD_B (8 << 20)		/* memory of one worker for them, touched only when needed */
#define MVPN_HOLD_S 5			/* then dropped, never sent in clear */
#define MVPN_WANT_GAP_MS 200		/* a session for one peer is asked for at most so often */
#define MVPN_ENDPOINT_GAP_MS 1000	/* a peer's new address is reported at most so often for one session */
#define MVPN_ICMP_RATE 1000		/* synthetic ICMP errors of one worker a second */
#define MVPN_GEN_SKIP_MAX 64		/* generations that a receiver searches forward after a long loss ... */
#define MVPN_GEN_SKIP_MS 100		/* ... at most so often, since it costs key derivations */
#define MVPN_SELECTORS_MAX 64		/* prefixes a side of one session */
#define MVPN_BY_LINE_MAX 16		/* values behind `by` in one line of the policy */
#define MVPN_BY_MAX_B 255		/* one of them */
#define MVPN_PROCESS_REPORT_MAX 32	/* kinds of refusals that a device reports at a time */
#define MVPN_PROCESS_TABLE_B (1 << 20)	/* all lines with `by` that one device is told */

/* ---- several gateways to one prefix ---- */
#define MVPN_GATEWAYS_MAX 4		/* of one prefix */
#define MVPN_TRANSLATIONS_MAX 65536	/* flows whose source a gateway translates */
#define MVPN_TRANSLATIONS_EACH 2048	/* of one device, unless keyd.conf says another number: less than half of the ports to one end */
#define MVPN_TRANSLATE_PORT_MIN 61000	/* above Linux's ephemeral ports (ip_local_port_range, 32768 to 60999) ... */
#define MVPN_TRANSLATE_PORTS 4536	/* ... to the last one: so many flows to one address and port behind the gateway */
#define MVPN_TRANSLATE_IFACES_MAX 32	/* interfaces behind a gateway */
#define MVPN_TRANSLATE_TCP_S 7440	/* idle, established: RFC 5382 REQ-5 */
#define MVPN_TRANSLATE_TCP_OTHER_S 240	/* idle, not yet established or half closed: likewise */
#define MVPN_TRANSLATE_TCP_CLOSED_S 120 /* closed by both: what is late still finds its way */
#define MVPN_TRANSLATE_TCP_RESET_S 10
#define MVPN_TRANSLATE_UDP_S 300	/* RFC 4787 REQ-5 */
#define MVPN_TRANSLATE_ICMP_S 60	/* RFC 5508 REQ-2 */
#define MVPN_FRAGMENTS_MAX 16384	/* datagrams in fragments, a direction: what 256 devices or hosts send at once */
#define MVPN_FRAGMENTS_EACH 64		/* of one device or host, a power of two: their fragments come one behind the other */
#define MVPN_FRAGMENT_S 30		/* the others come within so long: as Linux waits (net.ipv4.ipfrag_time) */
#define MVPN_FRAGMENT_IDS_TRIED 4	/* identifications that another device has at that moment */
#define MVPN_TRANSLATE_REFUSED_MS 600000 /* so long `doctor` tells of a device that wanted too many */
#define MVPN_TRANSLATE_SWEEP 4096	/* entries that are looked at each second */
#define MVPN_GATEWAY_SETS_MAX 8192	/* prefixes behind gateways that a device watches; of others it uses the first one ... */
#define MVPN_GATEWAY_SINGLES_MAX 4096	/* ... and those that have but one leave room for others */
#define MVPN_GATEWAY_DEAD_MS 60000	/* a failure is told of for so long after it was seen last: then nobody uses it */
#define MVPN_GATEWAY_LOOK_MS 100	/* so often is looked who has been heard. With the next two: another gateway is taken within 2 s,
					 * in which an introduction still has its time before three have gone */
#define MVPN_GATEWAY_PING_MS 400	/* one that is in use is asked when it has not been heard for so long */
#define MVPN_GATEWAY_SILENT_MS 1200	/* and has failed when it has not answered for so long: three are lost, not one */
#define MVPN_GATEWAY_IDLE_MS 2000	/* one to which nothing is sent, or that stands by, is asked so often */
#define MVPN_GATEWAY_BUSY_MS 10000	/* nothing is sent to it any more after so long without a packet */
#define MVPN_GATEWAY_BACK_MS 5000	/* one that had failed is preferred again when it has been well for so long; twice as long ... */
#define MVPN_GATEWAY_BACK_MAX_MS 80000	/* ... and at most so long each time that it fails again ... */
#define MVPN_GATEWAY_LEFT_MS 2000	/* streams through one that is not in use any more are reset if it has not come back after so long */
#define MVPN_GATEWAY_STREAM_MS 2000	/* a stream that has not reached its keyd after so long goes through another one */
#define MVPN_REACH_LOOK_MS 1000		/* so often a gateway looks whether it reaches its prefixes, besides when links or routes change */
#define MVPN_REACH_SILENT_MS 1200	/* who has to answer there has not done so twice */
#define MVPN_REACH_LOOKS 256		/* prefixes that are looked at in one MVPN_GATEWAY_LOOK_MS */
#define MVPN_REACH_TELL_MS 1000		/* so often peers are told again of what is not reached */
#define MVPN_REACH_TELLS 512		/* words in one MVPN_GATEWAY_LOOK_MS, that are sent in all or believed of one gateway: half of a ring */
#define MVPN_REACH_ROUNDS 3		/* so often they are told that it is reached again */
#define MVPN_REACH_OLD_MS 10000		/* nobody has said it again for so long: it is reached, or will fail in another way */
#define MVPN_GATEWAY_CHECKS_MAX 16	/* addresses in keyd.conf that have to answer: a line has no room for many more */
#define MVPN_GATEWAY_CALM_MS 600000	/* ... within so long */
#define MVPN_RULES_MAX 8			/* lines of the policy that a session knows, for people */
#define MVPN_SERVICES_MAX 64		/* ranges of ports a side of one session */
#define MVPN_CLASSES_MAX 16		/* different DSCPs and limits in one session */
#define MVPN_LIMIT_MIN_KBIT 64		/* of a `limit`: below that one packet takes a fifth of a second ... */
#define MVPN_LIMIT_MAX_KBIT 1000000000	/* ... and nothing goes faster */
#define MVPN_LIMIT_BURST_MS 20		/* its burst if the policy gives none: a few turns of the scheduler ... */
#define MVPN_LIMIT_BURST_MIN_B (32 << 10) /* ... and twenty packets at least */
#define MVPN_LIMIT_BURST_MAX_B (64 << 20)
#define MVPN_LIMIT_QUEUE_MS 100		/* what is beyond the limit waits so long: as routers are dimensioned, so that TCP fills it ... */
#define MVPN_LIMIT_QUEUE_MIN_B (32 << 10) /* ... twenty packets at least ... */
#define MVPN_LIMIT_QUEUE_B (8 << 20)	/* ... and no more than this: memory of one worker for all, touched only when needed */
#define MVPN_LIMIT_QUEUE_PACKETS 4096	/* of one worker; super-packets count once */
#define MVPN_LIMIT_QUEUES 256		/* classes of peers that one worker keeps waiting at once */
/* the receiver of a limited class allows for so much more at once, so long a time of being held back on the way, and 1/16 of the rate */
#define MVPN_LIMIT_SLACK_B (256 << 10)
#define MVPN_LIMIT_SLACK_MS 250
#define MVPN_LIMIT_SLACK_PART 16
#define MVPN_WORKERS_MAX MVPN_LANES_MAX
#define MVPN_CPUS_A_WORKER 2		/* workers = 0: one worker for so many CPUs ... */
#define MVPN_WORKERS_AUTO_MAX 4		/* ... but no more: each lane costs 6 KB a session */
#define MVPN_LANE_OFFER_AFTER 32	/* packets in a row that another worker hands over before it is offered the lane: more than
					 * a burst that strayed, few enough that the copies do not matter */
#define MVPN_LANE_OFFERS_MAX 16		/* unanswered offers of one worker to another */
#define MVPN_LANES_AWAITED_MAX 16	/* lanes that a worker has accepted and not got yet */
#define MVPN_SPIN_US 50 /* a worker looks so long for more work at most: what a wake-up costs, more or less */
#define MVPN_LATENCY_SPIN_US 1000 /* ... in latency mode: longer than the answer of a peer nearby takes */
#define MVPN_DATA_PORT 7469		/* default UDP port of the data path */

/* ---- streams: the socket level ---- */
#define MVPN_STREAM_DATA_MAX_B 65536	/* of one record: as much as TCP hands down at once ... */
#define MVPN_STREAM_BATCH_B 65200	/* ... with its headers and the room that the kernel keeps for them (sk_gso_max_size) */
#define MVPN_STREAM_REKEY_RECORDS (1U << 20) /* then the next key: 64 GiB at most, far below what AES-256-GCM bears */
#define MVPN_STREAM_OPEN_S 10		/* for a session; and for the other application's accept(), by the two keyds each */
#define MVPN_STREAM_REACH_S 5		/* for the other keyd to be reached by TCP: three SYNs, and a slow path */
#define MVPN_STREAM_ANSWER_S 3 /* of which the application's own kernel may take so much: its SYN once more, or it has given up */
#define MVPN_SYN_RING_B (1 << 20) /* SYNs that keyd has not looked at: some 9000, and what is beyond comes again a second later */
#define MVPN_STREAMS_MAX 16384		/* at once in one keyd: each takes two sockets and 3 KB of locked memory */
#define MVPN_STREAMS_SPARE 64 /* the last one in so many is left to devices that have fewer than that: none takes all from the others */
#define MVPN_KEYD_FILES 256		/* descriptors that streams leave to the rest of keyd, whatever the limit is */
#define MVPN_DIVERTED_MAX 16384	/* connections on their way from connect() to keyd, and from keyd to accept() (LRU) */
#define MVPN_DATAGRAM_ENDS_MAX 4096	/* remote ends of datagrams at once: each has a UDP socket of keyd's */
#define MVPN_DATAGRAM_ENDS_PEER_MAX (MVPN_DATAGRAM_ENDS_MAX / 4) /* of one device, beyond which only programs here add more: it takes not all from the others */
#define MVPN_KEPT_PORTS_MAX (4 * MVPN_DATAGRAM_ENDS_MAX) /* those of earlier lives, too, to which applications are connected still */
#define MVPN_DATAGRAM_READY 64		/* sockets kept for the next ends: more than connect at once before keyd looks */
#define MVPN_DATAGRAM_IDLE_S 120	/* an end that nobody has spoken with gives its socket back (RFC 4787, REQ-5) */
#define MVPN_DATAGRAM_STREAMS_MAX 4	/* that one peer has opened here: one is used, the others are on their way out; the next takes the oldest's place */
#define MVPN_DATAGRAM_QUEUE_B (256 << 10) /* of one peer, that TCP does not take yet; beyond it they are lost, as on a slow link */
#define MVPN_STREAM_TURN_B (512 << 10)	/* one bulk stream, or all of a pump's together, moves so many bytes before the others have their turn */
#define MVPN_STREAM_SILENT_S 60		/* nothing comes back from the other host for so long: the stream is cut */

/* ---- end points behind NAT ---- */
#define MVPN_KEEPALIVE_S 20		/* a mapping lives for 30 s at the very least that NATs are seen to keep */
#define MVPN_ECHO_FIRST_MS 250		/* an unanswered echo is repeated after so long, then at doubling intervals ... */
#define MVPN_ECHO_TRIES 6		/* ... so often in a row (16 s) ... */
#define MVPN_ECHO_SILENT_S 60		/* ... and again after so long: UDP to the server may be blocked */
#define MVPN_ECHO_RATE 10		/* questions of one device a second that the server answers */
#define MVPN_TWIN_TIMES 3		/* a channel given up so often for one of the same identity ... */
#define MVPN_TWIN_S 600			/* ... each time within so long of the last: another host has it */
#define MVPN_ECHO_HEAR_MS 20		/* a worker hands on one answer in so long at most: anybody can send what looks like one */
#define MVPN_RELAY_MBIT 100		/* of one device through the server; server.conf's relay_mbit */
#define MVPN_RELAY_BURST_MS 250		/* it may send so long as fast as it can */
#define MVPN_RELAY_PAIRS_MAX 65536
#define MVPN_RELAY_IDLE_S 90		/* the ends speak of it each MVPN_KEEPALIVE_S */
#define MVPN_RELAY_DEVICE_PAIRS_MAX 1024 /* of one device that relays */
#define MVPN_RELAY_ASK_MS 100		/* an end repeats its question to such a device after so long, then at doubling intervals ... */
#define MVPN_RELAY_ASK_TRIES 4		/* ... and after so many (1.5 s) says that it does not answer */
#define MVPN_RELAY_WATCH_S 2		/* it asks again so often while packets go that way, else each MVPN_KEEPALIVE_S */
#define MVPN_RELAY_AVOID_S 60		/* a device that did not answer one of the ends is not asked to relay for it for so long */
#define MVPN_ECHO_BLOCKED_TRIES 4	/* unanswered ones in a row (3.75 s) that mean: UDP to the server is blocked */
#define MVPN_ECHO_WATCH_S 2		/* it is asked so often while packets go by TCP instead */
#define MVPN_CONDUIT_PACKET_MAX_B 9216	/* what the data path sends at most: its payload of a jumbo frame */
#define MVPN_CONDUIT_QUEUE_B (256 << 10) /* of packets that TCP does not take yet, then they are lost: 200 ms at 10 Mb/s */
#define MVPN_CONDUIT_UNSENT_B (64 << 10) /* and in the kernel behind that, beyond what is on its way */
#define MVPN_CONDUIT_DEAD_S 20		/* bytes that nobody has acknowledged for so long: the connection is dead */
#define MVPN_CONDUIT_IDLE_S 60		/* without a session that needs it the device closes it; they say so each MVPN_KEEPALIVE_S */
#define MVPN_CONDUIT_RETRY_S 30		/* a lost one is made anew after a second, then at doubling intervals up to this */
#define MVPN_RELAY_GAP_MS 1000		/* the relay of one session is asked for at most so often because the peer does */
#define MVPN_PROBE_GAP_MS 300		/* PINGs to where a peer seems to have moved; no more bytes than have come from there ... */
#define MVPN_PROBE_TRIES 3		/* ... since the packet that made us ask was as long as one of them (RFC 9000 §8) */

/* ---- path MTU (RFC 8899 §5.1) ---- */
#define MVPN_PMTU_MIN_IP4_B 576		/* RFC 1122 §3.3.3: what every host must take; nothing smaller is probed ... */
#define MVPN_PMTU_MIN_IP6_B 1280	/* ... nor below IPv6's least link MTU */
#define MVPN_PMTU_TRIES 3		/* probes of one size (MAX_PROBES): a lost one must not look like a small path */
#define MVPN_PMTU_BURSTS 4		/* of all sizes, at doubling intervals, before the peer counts as silent */
#define MVPN_PMTU_FIRST_MS 300		/* round-trip time assumed before one is known */
#define MVPN_PMTU_MARGIN_MS 50		/* a probe is lost after 3 round trips and this (a scheduler's hiccup), at least ... */
#define MVPN_PMTU_TIMEOUT_MIN_MS 60
#define MVPN_PMTU_TIMEOUT_MAX_MS 3000	/* ... and at most after these */
#define MVPN_PMTU_SETTLE_MS 15		/* on a new path, after the first answer and half a round trip: the sizes in use until
					 * then may vanish, so wait no longer */
#define MVPN_PMTU_CONFIRM_S 3		/* while packets are sent the size in use is confirmed so often: the time in which a
					 * path that shrinks without ICMP is noticed */
#define MVPN_PMTU_RAISE_S 10		/* larger sizes are tried again after so long, while packets are sent (a detour is
					 * often short), then ever more rarely ... */
#define MVPN_PMTU_RAISE_MAX_S 600	/* ... down to this (PMTU_RAISE_TIMER) */
#define MVPN_PMTU_SILENT_S 5		/* a peer that answered no size is asked again after so long, then more rarely ... */
#define MVPN_PMTU_SILENT_MAX_S 60	/* ... down to this */
#define MVPN_PMTU_QUOTE_PACKETS (1 << 18) /* an ICMP error counts only if it quotes one of so many last packets: 200 ms at
					   * more than a worker can send */
#define MVPN_PMTU_HINT_GAP_MS 1000	/* ICMP errors, which anybody can forge, make us probe at most so often */

/* ---- keyd and BPF ---- */
#define MVPN_PEERS_MAX 131072		/* peer indices; 100 000 devices and room for churn */
#define MVPN_PREFIXES_MAX 1048576	/* protected prefixes in the BPF map */
#define MVPN_CLAIMS_MAX 262144		/* protected prefixes of several networks on one host together */
#define MVPN_NETWORKS_MAX 16		/* of those */
#define MVPN_SHARE_WAIT_MS 30000	/* for others that start or end, one after the other: the verifier takes seconds on a slow machine */
#define MVPN_EXEMPT_MAX 64		/* server end points exempt from protection */
#define MVPN_OWN_SOCKETS_MAX 64		/* keyd's own sockets, by cookie */
#define MVPN_FLOWS_MAX 16384		/* flows remembered for `mvpnctl flows` (LRU) */
#define MVPN_SOCKETS_MAX 16384		/* sockets whose process is remembered (LRU) */
#define MVPN_TALKS_MAX 16384		/* remote ends whose datagrams come as packets, though there are streams (LRU) */
#define MVPN_TALK_NS 120000000000ULL	/* answers go the same way for so long: as nf_conntrack_udp_timeout_stream */
#define MVPN_FLOWS_ASKED_MAX 4096	/* flows of one `mvpnctl flows`, the newest, of whose sockets the kernel is asked: 20 ms */
#define MVPN_CGROUPS_MAX 65536		/* control groups whose names are looked for */
#define MVPN_TRAITS_MAX 64		/* that `by` asks of processes, one device: bits of a word */
#define MVPN_GUARD_LINES 64		/* times services of lines about one peer with `by` */
#define MVPN_GUARDS_MAX MVPN_PEERS_MAX
#define MVPN_GROUP_NAME_B 124		/* of a unit or control group that `by` names, its NUL with it; systemd takes 255 */
#define MVPN_EXE_PATH_B 256		/* of a path of a program that is said for people, its NUL with it */
#define MVPN_GROUP_DEPTH 12		/* levels of control groups that are looked at, from the root */
#define MVPN_VOUCHED_MAX 16384		/* flows of containers whose process is known (LRU) */
#define MVPN_VOUCHED_NS 1000000000ULL	/* a packet has come from the container to the interface by then */
#define MVPN_REFUSED_MAX 1024		/* kinds of refusals whose last telling is remembered (LRU) */
#define MVPN_REFUSED_GAP_NS 1000000000ULL /* between two events about refusals that are alike */
#define MVPN_REFUSAL_RING_B (64 << 10)
#define MVPN_EVENT_RING_B (256 << 10)	/* BPF ring buffer of events */
#define MVPN_EVENT_GAP_NS 50000000ULL	/* at most one miss event a peer each 50 ms */
#define MVPN_SOCK_LAST_NS 1000000000ULL	/* a datagram socket's destination is looked up again after so long, if it stays the same */
#define MVPN_ALIVE_S 5			/* keyd refreshes config.alive_ns each second; older than this: keyd is down */
#define MVPN_DEFER_HARD_IRQS 2	/* busy polling: empty polls before a device turns its interrupt on again ... */
#define MVPN_DEFER_FLUSH_NS 200000 /* ... and how long it waits for the next one (Linux, Documentation/networking/af_xdp.rst) */
#define MVPN_IFACES_MAX 16		/* attached interfaces */
#define MVPN_ARRIVALS_MAX 64		/* addresses whose packets arrive on an interface of their own, and the rest of them */
#define MVPN_OWN_ADDRESSES_MAX 1024	/* of this host, that the socket level knows packets from by */
#define MVPN_MACS_MAX MVPN_IFACES_MAX	/* MAC addresses of one device: one an interface */
#define MVPN_FRAMES_MAX 4096		/* (MAC address, EtherType) that one device is told of; the rest is dropped */
#define MVPN_FRAMES_MAP 8448		/* the old table and the new one while it changes, and types for whatever is left out */

/* ---- one keyd for several networks (keyd/supervise.h) ---- */
#define MVPN_CHILD_AGAIN_MS 200		/* a network's keyd that has ended is started again after so long, then after twice that ...,
					 * unless it has run for longer than that */
#define MVPN_CHILD_AGAIN_MAX_MS 10000	/* ... up to this: a configuration that was mended is noticed soon */
#define MVPN_CHILD_START_MS 60000	/* until it is ready: BPF programs on a slow machine, a passphrase, a token */
#define MVPN_CHILD_SILENT_MS 30000	/* it says each second that it lives; unless the unit has another WatchdogSec= */
#define MVPN_CHILD_END_MS 10000		/* from SIGTERM or SIGABRT to SIGKILL; systemd's patience is 90 s */

/* ---- local control ---- */
#define MVPN_CTL_LINE_MAX_B (16 << 20)	/* one JSON reply; 100 000 peers at ~150 B */
#define MVPN_CTL_REQUEST_MAX_B (1 << 20)
#define MVPN_CTL_CLIENTS_MAX 64

/* ---- enrolment ---- */
#define MVPN_TOKEN_TTL_S 3600
#define MVPN_ROTATE_S 600		/* a device's next key is good for a log-in for so long after it was announced */
#define MVPN_SERVER_KEY_DUAL_S 2592000	/* PROTOCOL §2: a device that is away for less than 30 days finds the server's key changed */
#define MVPN_SERVER_KEY_AFTER_S 86400	/* the next one is in use so long after it was announced, unless somebody says otherwise ... */
#define MVPN_SERVER_KEY_AFTER_MAX_S (MVPN_SERVER_KEY_DUAL_S - 86400) /* ... and a day at least before the old one goes */
#define MVPN_VOUCHES_MAX 8		/* keys of a device in a row, of which a peer that is away can still be told */
#define MVPN_EPHEMERAL_S 1800		/* a device of an ephemeral token goes after so long without a channel: longer than a reboot */
#define MVPN_NAME_MAX_B 63		/* device, group and network names */

#endif
