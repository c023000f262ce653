#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Multipath TCP (RFC 8684): the program's socket is not the one that connects; the kernel opens those itself.

serve PORT            echo, over both families
ask ADDRESS PORT TEXT  print what comes back
"""
import socket
import sys

IPPROTO_MPTCP = 262


def serve(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    s.listen()
    while True:
        c, _ = s.accept()
        while data := c.recv(65536):
            c.sendall(data)
        c.close()


def ask(address, port, text):
    c = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    c.settimeout(10)
    c.connect((address, port))
    c.sendall(text.encode())
    c.shutdown(socket.SHUT_WR)
    got = b""
    while data := c.recv(65536):
        got += data
    print(got.decode())


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]), sys.argv[4])
