/* SPDX-License-Identifier: BSD-2-Clause */
/* UNIX stream sockets by path, for both ends of ipc.h. Both return the socket, or -errno. */
#ifndef MVPN_IPC_SOCKET_H
#define MVPN_IPC_SOCKET_H

/* Mode 0600, the directory made if missing. A file that no live socket belongs to is replaced, a live one is -EADDRINUSE. */
int ipc_socket_listen(const char *path, int backlog);
/* blocking; -ETIMEDOUT if the daemon does not accept in time; 0: no limit */
int ipc_socket_connect(const char *path, unsigned timeout_ms);

#endif
