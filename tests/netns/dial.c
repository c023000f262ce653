/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dial tcp|udp|raw ADDRESS PORT [SIZE]: connects, or sends one datagram of SIZE bytes, by a raw socket too; prints "ok" or the errno's name
 * at once.
 * Linked statically by the cases that use it: nothing of it can be preloaded.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TEXT "dialled"

int main(int argc, char **argv)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr *to = (struct sockaddr *)&a4;
	struct timeval wait = {.tv_sec = 3};
	socklen_t len = sizeof(a4);
	static uint16_t udp[4 + 32768];
	size_t size = sizeof(TEXT);
	int fd, type, r;

	if (argc == 5)
		size = (size_t)atoi(argv[4]);
	if (argc < 4 || argc > 5 || size < sizeof(TEXT) || size > 60000)
		return 2;
	a4.sin_port = a6.sin6_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(AF_INET6, argv[2], &a6.sin6_addr) == 1) {
		to = (struct sockaddr *)&a6;
		len = sizeof(a6);
	} else if (inet_pton(AF_INET, argv[2], &a4.sin_addr) != 1) {
		return 2;
	}
	type = !strcmp(argv[1], "tcp") ? SOCK_STREAM : !strcmp(argv[1], "udp") ? SOCK_DGRAM : SOCK_RAW;
	fd = socket(to->sa_family, type, type == SOCK_RAW ? IPPROTO_UDP : 0);
	if (fd < 0)
		return 2;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	udp[0] = udp[1] = a4.sin_port; /* a UDP header; IPv4 takes it without a checksum */
	udp[2] = htons((uint16_t)(8 + size));
	udp[3] = 0;
	memcpy(&udp[4], TEXT, sizeof(TEXT));
	if (type == SOCK_RAW) {
		a6.sin6_port = 0; /* a raw socket's is the protocol */
		r = (int)sendto(fd, udp, 8 + size, 0, to, len);
	} else if (type == SOCK_DGRAM) {
		r = (int)sendto(fd, &udp[4], size, 0, to, len);
	} else {
		r = connect(fd, to, len);
	}
	puts(r < 0 ? strerrorname_np(errno) : "ok");
	return r < 0;
}
