// SPDX-License-Identifier: BSD-2-Clause

// fetch ADDRESS:PORT PATH: HTTP/1.0 by Go's own network code, built without libc: no library that could be replaced is in its way.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

func main() {
	c, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", os.Args[2])
	all, err := io.ReadAll(c)
	head, body, found := strings.Cut(string(all), "\r\n\r\n")
	if err != nil || !found || !strings.Contains(head, " 200 ") {
		fmt.Fprintln(os.Stderr, err, head)
		os.Exit(1)
	}
	fmt.Print(body)
}
