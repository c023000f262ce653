# SPDX-License-Identifier: BSD-2-Clause
# What is built from what, one line a room; a new source file is named here.

LIB := addr aead chan chan_handshake chan_msg config crypto fsutil intro intro_keys ipc ipc_request log loop lpm netlink netlink_link netlink_route noise reason replay secmem token
# the part of lib/ that each program links
LIB_keyd := $(LIB)
LIB_server := addr aead chan chan_handshake chan_msg config crypto fsutil intro intro_keys ipc ipc_request log loop lpm noise reason secmem token
LIB_mvpnctl := addr fsutil ipc ipc_request log loop

KEYD := main
DP :=
SERVER :=
CTL :=
BPF := shim wire

# tests/unit/NAME.c, cmocka programs; objects that each links besides lib/: OBJS_unit_NAME
UNIT :=
# tests/bpf/NAME.c, cmocka programs that need root: linked with keyd/shim
BPFTEST :=
# tests/fuzz/NAME.c, one parser each (LLVMFuzzerTestOneInput)
FUZZ :=
