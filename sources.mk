# SPDX-License-Identifier: BSD-2-Clause
# What is built from what, one line a room; a new source file is named here.

LIB := addr aead chan chan_handshake chan_msg chan_proof config crypto delegation echo_msg fsutil htab intro intro_keys ipc ipc_request ipc_socket log loop lpm mac netlink netlink_link netlink_route noise reason replay secmem secslab spi stream token
# the part of lib/ that each program links
LIB_keyd := $(LIB)
LIB_server := addr aead chan chan_handshake chan_msg chan_proof config crypto delegation echo_msg fsutil htab intro intro_keys ipc ipc_request ipc_socket log loop lpm mac noise reason secmem token
LIB_mvpnctl := addr fsutil ipc ipc_request ipc_socket log loop mac

SHIM := shim shim_attach shim_cgroup shim_clsact shim_defer shim_frames shim_list shim_maps shim_pin shim_protect shim_socket shim_streams shim_transport shim_xdp
KEYD := main attach attach_wire channel conf conn control control_doctor control_explain control_identity control_show control_wait ether flows frametab guard identity identity_file intro_msg introduce keystore keytab offer options peers prefixes resolve rp_filter sessions watch $(SHIM)
KEYD += path pmtu endpoint nat relayed ticket
KEYD += streams streams_open streams_accept streams_pump levels
KEYD += hsm hsm_helper hsm_p11 intro_defer delegate
DP := nexthop frame wire_xdp
DP += run wire_xdp_open errqueue quote
DP += dp tell worker owner relay spin tap seal open segment fragment mss coalesce hold icmp wire_udp ether
SERVER := main server conf identity privileges listen channel dispatch enrol register introduce intro_table intro_record session push registry owners policy policy_parse audit store_sqlite store_device store_token store_session store_policy admin admin_token admin_device admin_policy
SERVER += macs ether policy_ether policy_mode policy_text echo relay policy_test policy_lines policy_pairs admin_policy_diff admin_policy_check audit_feed admin_audit audit_keep policy_settings
SERVER += depart psk delegate gate audit_check audit_verify levels refusal
CTL := args help human input main mvpnctl output table verb_explain verbs_device verbs_identity verbs_iface verbs_peer verbs_policy verbs_status verbs_token verbs_audit
BPF := shim wire sockops sock stream

# tests/unit/NAME.c, cmocka programs; objects that each links besides lib/: OBJS_unit_NAME
UNIT :=
UNIT += addr config ctl fsutil ipc loop lpm secslab spi
OBJS_unit_ctl = $(call objs,ctl,$(filter-out main,$(CTL)))
UNIT += stream aead chan chan_frames chan_msg chan_proof crypto intro intro_keys noise replay token
UNIT += netlink frame nexthop
UNIT += identity pmtu hsm
OBJS_unit_hsm = $(call objs,keyd,hsm_p11)
OBJS_unit_pmtu = $(call objs,keyd,pmtu)
OBJS_unit_identity = $(call objs,keyd,identity identity_file)
OBJS_unit_frame = $(call objs,keyd/dp,frame)
UNIT += run
OBJS_unit_run = $(call objs,keyd/dp,run)
OBJS_unit_nexthop = $(call objs,keyd/dp,nexthop)
UNIT += packet ecn segment spin coalesce hold keytab seal open owner ether wire_udp
OBJS_unit_wire_udp = $(call objs,keyd/dp,wire_udp errqueue)
OBJS_unit_seal = $(call objs,keyd,keytab frametab) $(call objs,keyd/dp,worker spin owner relay tap seal open quote segment fragment mss coalesce hold icmp ether wire_udp errqueue)
OBJS_unit_ether = $(OBJS_unit_seal)
OBJS_unit_open = $(OBJS_unit_seal)
OBJS_unit_owner = $(OBJS_unit_seal)
OBJS_unit_coalesce = $(call objs,keyd/dp,coalesce segment fragment mss)
OBJS_unit_spin = $(call objs,keyd/dp,spin)
OBJS_unit_hold = $(call objs,keyd/dp,hold)
OBJS_unit_keytab = $(call objs,keyd,keytab frametab)
OBJS_unit_segment = $(call objs,keyd/dp,segment fragment mss)
UNIT += mss quote echo server_echo
OBJS_unit_quote = $(OBJS_unit_seal)
OBJS_unit_mss = $(call objs,keyd/dp,mss)
UNIT += server server_bad server_flood server_push server_kill server_steps server_trust server_ether policy store
OBJS_unit_policy = $(call objs,server,policy policy_parse policy_ether policy_mode policy_lines policy_pairs policy_settings policy_test policy_text)
OBJS_unit_store = $(call objs,server,store_sqlite store_device store_token store_session store_policy audit audit_keep audit_verify)
OBJS_unit_server = $(call objs,server,$(filter-out main privileges,$(SERVER))) $(call objs,tests/sim,sim_server sim_device)
OBJS_unit_server_bad = $(OBJS_unit_server)
OBJS_unit_server_flood = $(OBJS_unit_server)
OBJS_unit_server_push = $(OBJS_unit_server)
OBJS_unit_server_kill = $(OBJS_unit_server)
OBJS_unit_server_steps = $(OBJS_unit_server)
OBJS_unit_server_trust = $(OBJS_unit_server)
OBJS_unit_server_ether = $(OBJS_unit_server)
OBJS_unit_server_echo = $(OBJS_unit_server)
UNIT += server_central server_depart server_psk server_delegate server_gate server_audit
UNIT += server_levels
OBJS_unit_server_levels = $(OBJS_unit_server)
OBJS_unit_server_delegate = $(OBJS_unit_server)
UNIT += server_record
OBJS_unit_server_record = $(OBJS_unit_server)
OBJS_unit_server_psk = $(OBJS_unit_server)
OBJS_unit_server_gate = $(OBJS_unit_server)
OBJS_unit_server_audit = $(OBJS_unit_server)
OBJS_unit_server_depart = $(OBJS_unit_server)
OBJS_unit_server_central = $(OBJS_unit_server)
# tests/bpf/NAME.c, cmocka programs that need root: linked with keyd/shim
BPFTEST :=
SHIM_TESTS := attach egress exempt frames guard ifaces maps multicast prefixes shim_socket traffic wire
BPFTEST += $(SHIM_TESTS)
$(foreach t,$(SHIM_TESTS),$(eval OBJS_bpf_$(t) = $$(call objs,keyd,$$(SHIM)) $$(O)/tests/bpf/shimtest.o))
BPFTEST += many_peers
OBJS_bpf_many_peers = $(call objs,keyd,$(filter-out main,$(KEYD))) $(call objs,keyd/dp,$(DP)) $(O)/tests/bpf/shimtest.o
BPFTEST += wire_xdp
OBJS_bpf_wire_xdp = $(call objs,keyd/dp,frame run wire_xdp wire_xdp_open) $(call objs,tests/bpf,wire_pair)
BPFTEST += dp_pair
OBJS_bpf_dp_pair = $(call objs,keyd,keytab frametab $(SHIM)) $(call objs,keyd/dp,$(DP)) $(call objs,tests/bpf,dp_net)
# tests/bench/scale*.c
SCALE := scale scale_path scale_bpf scale_keyd
OBJS_scale = $(call objs,keyd,$(filter-out main,$(KEYD))) $(call objs,keyd/dp,$(DP)) $(call objs,tests/bench,$(SCALE))
# tests/bench/server*.c
OBJS_bench_server = $(call objs,tests/bench,server server_host) $(call objs,tests/sim,swarm) $(call objs,server,identity store_sqlite store_device store_token store_session store_policy)
# tests/fuzz/NAME.c, one parser each (LLVMFuzzerTestOneInput)
FUZZ :=
FUZZ += addr config
SRCS_fuzz_addr = lib/addr.c
SRCS_fuzz_config = lib/config.c lib/fsutil.c
FUZZ += frame run
SRCS_fuzz_run := keyd/dp/run.c
SRCS_fuzz_frame := keyd/dp/frame.c lib/addr.c
FUZZ += chan intro token
SRCS_fuzz_chan := lib/chan.c lib/chan_handshake.c lib/chan_msg.c lib/chan_proof.c lib/crypto.c lib/noise.c lib/secmem.c
SRCS_fuzz_intro := lib/addr.c lib/aead.c lib/crypto.c lib/intro.c lib/intro_keys.c lib/noise.c lib/secmem.c
SRCS_fuzz_token := lib/crypto.c lib/token.c
FUZZ += identity delegation
SRCS_fuzz_delegation := lib/delegation.c lib/chan.c lib/chan_handshake.c lib/chan_msg.c lib/chan_proof.c lib/crypto.c lib/noise.c lib/secmem.c
SRCS_fuzz_identity := $(addprefix keyd/,identity.c identity_file.c) lib/crypto.c lib/fsutil.c
FUZZ += tap inner mss
SRCS_fuzz_mss = keyd/dp/mss.c lib/addr.c
SRCS_fuzz_tap = $(addprefix keyd/dp/,segment.c fragment.c mss.c icmp.c) lib/addr.c
SRCS_fuzz_inner = keyd/dp/coalesce.c lib/addr.c
FUZZ += policy stream
SRCS_fuzz_stream := lib/addr.c lib/aead.c lib/crypto.c lib/intro_keys.c lib/noise.c lib/secmem.c lib/stream.c
FUZZ += ether echo
SRCS_fuzz_echo := lib/crypto.c lib/echo_msg.c
SRCS_fuzz_ether := keyd/frametab.c lib/addr.c lib/lpm.c lib/mac.c
SRCS_fuzz_policy := $(addprefix server/policy,.c _parse.c _ether.c _lines.c _mode.c _pairs.c _settings.c _test.c _text.c) lib/addr.c lib/reason.c
