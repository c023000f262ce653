/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traffic classes at the socket level: a connection has the DSCP of its service, as long as that is no copy of what packets have, and
 * is read from the application no faster than its limit lets it go. Datagrams over a limit are dropped, by either end.
 */
#ifndef MVPN_STREAMS_CLASS_H
#define MVPN_STREAMS_CLASS_H

#include "streams.h"

/* a connection that begins to run */
void stream_class_begin(struct stream *s);
/* may more be read from the application? Else the stream is moved again when it may. */
bool stream_class_open(struct stream *s);
void stream_class_sent(struct stream *s, size_t len);
/* false: it is over the limit, and counted */
bool datagram_class_passes(const struct session *s, bool out, const struct stream_tuple *t, size_t len);

#endif
