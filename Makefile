# SPDX-License-Identifier: BSD-2-Clause
# mvpn: `make`, `make demo`, `make check [T=word]`, `make bench`, `make install DESTDIR=`. No configure step.
# `make SAN=address,undefined` builds everything with those sanitizers into build/san. V=1 shows the commands.

VERSION := 0.1.0
SAN ?=
BUILD ?= build$(if $(SAN),/san)
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-7s %s\n' $(1) $(2))

CC := gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config
prefix ?= /usr
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
unitdir ?= /lib/systemd/system
sysconfdir ?= /etc

comma := ,
X86 := $(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null))

include sources.mk

PKGS := libbpf libxdp libsodium libmnl sqlite3 jansson inih libsystemd libcap-ng p11-kit-1
PKGS_keyd := libbpf libxdp libsodium libmnl jansson inih libsystemd libcap-ng p11-kit-1
PKGS_mvpn-server := libsodium sqlite3 jansson inih libsystemd libcap-ng
PKGS_mvpnctl := jansson
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1))
MB_LIBS := $(if $(X86),-lIPSec_MB)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
HARDEN := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
P11_INCLUDE := $(addprefix -isystem ,$(patsubst -I%,%,$(shell $(PKG_CONFIG) --cflags-only-I p11-kit-1 2>/dev/null)))
CPPFLAGS += -D_GNU_SOURCE -DMVPN_VERSION='"$(VERSION)"' $(if $(X86),-DHAVE_IPSEC_MB) -Iinclude -Ilib -I$(BUILD)/gen $(P11_INCLUDE)
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 $(WARN) $(HARDEN) $(SANFLAGS) -pthread
LDFLAGS += -pie -Wl,-z,relro,-z,now -pthread $(SANFLAGS)

O := $(BUILD)/obj
objs = $(patsubst %,$(O)/$(1)/%.o,$(2))
SKEL := $(patsubst %,$(BUILD)/gen/%.skel.h,$(BPF))
BINARIES := $(BUILD)/keyd $(BUILD)/mvpn-server $(BUILD)/mvpnctl

.PHONY: all
all: $(BINARIES)

$(BUILD)/keyd: $(call objs,lib,$(LIB_keyd)) $(call objs,keyd,$(KEYD)) $(call objs,keyd/dp,$(DP))
$(BUILD)/keyd: LIBS = $(call pkg_libs,$(PKGS_keyd)) $(MB_LIBS)
$(BUILD)/mvpn-server: $(call objs,lib,$(LIB_server)) $(call objs,server,$(SERVER))
$(BUILD)/mvpn-server: LIBS = $(call pkg_libs,$(PKGS_mvpn-server)) $(MB_LIBS)
$(BUILD)/mvpnctl: $(call objs,lib,$(LIB_mvpnctl)) $(call objs,ctl,$(CTL))
$(BUILD)/mvpnctl: LIBS = $(call pkg_libs,$(PKGS_mvpnctl))
$(BINARIES):
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---- BPF: object -> skeleton header ----
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Werror -D__bpf__ -I. -Iinclude -Ibpf
$(O)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<
.PRECIOUS: $(O)/bpf/%.bpf.o
$(BUILD)/gen/%.skel.h: $(O)/bpf/%.bpf.o
	$(Q)mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@.tmp && mv $@.tmp $@
$(call objs,keyd,$(KEYD)) $(call objs,tests/bpf,$(BPFTEST) shimtest) $(call objs,tests/bench,$(SCALE)): | $(SKEL)

# ---- tests ----
UNIT_BIN := $(patsubst %,$(BUILD)/tests/unit/%,$(UNIT))
BPFTEST_BIN := $(patsubst %,$(BUILD)/tests/bpf/%,$(BPFTEST))
$(UNIT_BIN) $(BPFTEST_BIN): LIBS = $(call pkg_libs,cmocka $(PKGS)) $(MB_LIBS)
.SECONDEXPANSION:
$(UNIT_BIN): $(BUILD)/tests/unit/%: $(O)/tests/unit/%.o $$(OBJS_unit_$$*) $(call objs,lib,$(LIB))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) $(LDFLAGS_unit_$*) -o $@ $^ $(LIBS)
$(BPFTEST_BIN): $(BUILD)/tests/bpf/%: $(O)/tests/bpf/%.o $$(OBJS_bpf_$$*) $(call objs,lib,$(LIB))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
.PHONY: unit bpftest fuzz
unit: $(UNIT_BIN)
bpftest: $(BPFTEST_BIN)

# Fuzz targets: libFuzzer, clang. `make fuzz` builds them; `make fuzz-run SECS=n` runs each so long.
FUZZ_BIN := $(patsubst %,$(BUILD)/fuzz/%,$(FUZZ))
FUZZ_CFLAGS := -std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -pthread
FO := $(BUILD)/fuzz/obj
fuzz: $(FUZZ_BIN)
$(FO)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(FUZZ_BIN): $(BUILD)/fuzz/%: $(FO)/tests/fuzz/%.o $$(addprefix $(FO)/,$$(SRCS_fuzz_$$*:.c=.o))
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer $(LDFLAGS_fuzz_$*) -o $@ $^ $(call pkg_libs,$(PKGS)) $(MB_LIBS) $(LIBS_fuzz_$*)

# ---- what a person types ----
# `make` only builds, and says what is missing; demo, check and bench install it first.
.PHONY: deps demo check vmcheck bench bench-report bench-scale bench-server bench-streams bench-deps profile fuzz-run helpers install uninstall clean
ifneq ($(filter-out deps demo check vmcheck bench bench-report bench-scale bench-server bench-streams bench-deps profile clean uninstall,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(PKGS) 2>/dev/null && command -v $(CLANG) >/dev/null && \
	command -v $(BPFTOOL) >/dev/null && echo found),found)
$(error Building needs packages that are not installed. As root: make deps (or only: \
	apt-get install --no-install-recommends $(strip $(shell tests/deps --list --build))))
endif
endif

deps:
	@tests/deps
demo:
	@tests/deps --demo
	@$(MAKE) -s all helpers
	@MVPN_BUILD=$(BUILD) tests/demo/demo.sh
T ?=
check:
	@tests/deps
	@BUILD=$(BUILD) tests/run "$(T)"
# the tests that depend on the kernel, on one of Debian's in a virtual machine: docs/testing.md
KERNEL ?= linux-image-amd64
vmcheck:
	@tests/deps
	@$(MAKE) -s all helpers bpftest
	@kernel=$$(tests/vm/kernel build/vm $(KERNEL)) && BUILD=$(BUILD) tests/vm/check build/vm/$$kernel "$(T)"
ROUNDS ?= 5
SECS ?= 2
PEERS ?=
OFFLOADS ?= both
CONTINUE ?=
bench:
	@tests/deps
	@$(MAKE) -s all helpers
	@OFFLOADS=$(OFFLOADS) MVPN_BUILD=$(BUILD) tests/bench/bench -r $(ROUNDS) -s $(SECS) $(if $(CONTINUE),-c) $(PEERS)
# the table and the plot again of what has been measured: build/bench
bench-report:
	@tests/bench/bench --report
# the peers' packages; nothing else installs them
bench-deps:
	@tests/deps --peers $(or $(PEERS),all)
# where each microsecond of a packet goes: make profile WIRE=udp|xdp LOAD=tcp|udp64|udp512|udp1400
WIRE ?= udp
LOAD ?= tcp
profile:
	@tests/deps
	@$(MAKE) -s all helpers
	@MVPN_BUILD=$(BUILD) tests/bench/profile $(WIRE) $(LOAD) $(SECS)

# what a packet costs as peers, prefixes and sessions grow
bench-scale:
	@tests/deps
	@$(MAKE) -s $(BUILD)/tests/bench/scale
	@$(BUILD)/tests/bench/scale $(if $(filter command line,$(origin ROUNDS)),$(ROUNDS))
$(BUILD)/tests/bench/scale: LIBS = $(call pkg_libs,$(PKGS)) $(MB_LIBS)
$(BUILD)/tests/bench/scale: $(OBJS_scale) $(call objs,lib,$(LIB))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# many streams at once at the socket level; VM=1: on one of Debian's kernels, whose descriptors and clock are its own
STREAMS ?= 10000
IDLE ?= 60
VM ?=
bench-streams:
	@tests/deps
	@$(MAKE) -s all helpers
	@$(if $(VM),kernel=$$(tests/vm/kernel build/vm $(KERNEL)) && VM_INSN_NS=1 VM_MB=3072 tests/vm/run build/vm/$$kernel) \
		env MVPN_SLOW=10 MVPN_BUILD=$(BUILD) tests/bench/streams $(STREAMS) $(IDLE)

# what the server does for so many devices; those that the machine has no room for are left out
DEVICES ?= 100 1000 10000 50000
bench-server:
	@tests/deps
	@$(MAKE) -s $(BUILD)/mvpn-server $(BUILD)/tests/bench/server
	@printf 'system\tmetric\tvalue\tunit\tratio_to_plain\tratio_to_best_peer\tdevices\n'
	@bad=0; for n in $(DEVICES); do $(BUILD)/tests/bench/server $(BUILD)/mvpn-server $$n || bad=1; done; exit $$bad
$(BUILD)/tests/bench/server: LIBS = $(call pkg_libs,$(PKGS_mvpn-server)) $(MB_LIBS)
$(BUILD)/tests/bench/server: $(OBJS_bench_server) $(call objs,lib,$(LIB_server))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

helpers: $(BUILD)/tests/bench/pingpong $(BUILD)/tests/bench/crowd
$(BUILD)/tests/bench/pingpong $(BUILD)/tests/bench/crowd: $(BUILD)/tests/bench/%: $(O)/tests/bench/%.o
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lm

fuzz-run: fuzz
	@set -e; for f in $(FUZZ_BIN); do \
		c=$(BUILD)/corpus/$$(basename $$f); mkdir -p $$c; \
		s=tests/fuzz/corpus/$$(basename $$f); [ -d $$s ] || s=; \
		printf '  %-7s %s, %s s\n' RUN $$f $(SECS); \
		$$f -max_total_time=$(SECS) -print_final_stats=1 -verbosity=0 $$c $$s; done

# ---- install: keyd is called mvpn-keyd, because Debian has another keyd ----
UNITS := mvpn-server.service mvpn-keyd.service mvpn-guard.service
# of several networks on one host: mvpn-keyd@NAME.service
TEMPLATES := mvpn-keyd@.service mvpn-guard@.service
MAN := $(wildcard docs/*.8 docs/*.5 docs/*.1)
docdir ?= $(prefix)/share/doc/mvpn
completiondir ?= $(prefix)/share/bash-completion/completions
D := $(DESTDIR)
install: all
	install -d $(D)$(sbindir) $(D)$(unitdir) $(D)$(sysconfdir)/mvpn/keyd.conf.d $(D)$(docdir)/examples $(D)$(completiondir)
	install -m 755 $(BUILD)/keyd $(D)$(sbindir)/mvpn-keyd
	install -m 755 $(BUILD)/mvpn-server $(BUILD)/mvpnctl $(D)$(sbindir)
	for u in $(UNITS); do sed 's,/usr/sbin/,$(sbindir)/,g' dist/systemd/$$u >$(D)$(unitdir)/$$u && \
		chmod 644 $(D)$(unitdir)/$$u || exit 1; done
	for u in keyd guard; do sed -f dist/systemd/template.sed $(D)$(unitdir)/mvpn-$$u.service >$(D)$(unitdir)/mvpn-$$u@.service && \
		chmod 644 $(D)$(unitdir)/mvpn-$$u@.service || exit 1; done
	for c in keyd server; do install -m 644 dist/$$c.conf $(D)$(docdir)/examples; \
		[ -e $(D)$(sysconfdir)/mvpn/$$c.conf ] || install -m 644 dist/$$c.conf $(D)$(sysconfdir)/mvpn; done
	install -m 644 dist/mvpnctl.bash $(D)$(completiondir)/mvpnctl
	install -m 644 README.md LICENSE $(wildcard docs/*.md) $(D)$(docdir)
	for m in $(MAN); do s=$(D)$(mandir)/man$${m##*.}; install -d $$s && install -m 644 $$m $$s || exit 1; done
# configuration and state stay
uninstall:
	rm -f $(addprefix $(D)$(sbindir)/,mvpn-keyd mvpn-server mvpnctl) $(addprefix $(D)$(unitdir)/,$(UNITS) $(TEMPLATES))
	for m in $(MAN); do rm -f $(D)$(mandir)/man$${m##*.}/$$(basename $$m); done
	rm -f $(D)$(completiondir)/mvpnctl
	rm -rf $(D)$(docdir)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
