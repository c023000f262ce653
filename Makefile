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

X86 := $(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null))

include sources.mk

PKGS := libbpf libxdp libsodium libmnl sqlite3 jansson inih libsystemd libcap-ng
PKGS_keyd := libbpf libxdp libsodium libmnl jansson inih libsystemd libcap-ng
PKGS_mvpn-server := libsodium sqlite3 jansson inih libsystemd libcap-ng
PKGS_mvpnctl := jansson
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1))
MB_LIBS := $(if $(X86),-lIPSec_MB)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
HARDEN := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CPPFLAGS += -D_GNU_SOURCE -DMVPN_VERSION='"$(VERSION)"' $(if $(X86),-DHAVE_IPSEC_MB) -Iinclude -Ilib -I$(BUILD)/gen
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
$(BUILD)/gen/%.skel.h: $(O)/bpf/%.bpf.o
	$(Q)mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@.tmp && mv $@.tmp $@
$(call objs,keyd,$(KEYD)) $(call objs,tests/bpf,$(BPFTEST)): | $(SKEL)

# ---- tests ----
UNIT_BIN := $(patsubst %,$(BUILD)/tests/unit/%,$(UNIT))
BPFTEST_BIN := $(patsubst %,$(BUILD)/tests/bpf/%,$(BPFTEST))
$(UNIT_BIN) $(BPFTEST_BIN): LIBS = $(call pkg_libs,cmocka $(PKGS)) $(MB_LIBS)
.SECONDEXPANSION:
$(UNIT_BIN): $(BUILD)/tests/unit/%: $(O)/tests/unit/%.o $$(OBJS_unit_$$*) $(call objs,lib,$(LIB))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BPFTEST_BIN): $(BUILD)/tests/bpf/%: $(O)/tests/bpf/%.o $$(OBJS_bpf_$$*) $(call objs,lib,$(LIB))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
.PHONY: unit bpftest fuzz
unit: $(UNIT_BIN)
bpftest: $(BPFTEST_BIN)

# Fuzz targets: libFuzzer, clang. `make fuzz` builds them; `make fuzz-run SECS=n` runs each so long.
FUZZ_BIN := $(patsubst %,$(BUILD)/fuzz/%,$(FUZZ))
FUZZ_CFLAGS := -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -pthread
fuzz: $(FUZZ_BIN)
$(FUZZ_BIN): $(BUILD)/fuzz/%: tests/fuzz/%.c $$(SRCS_fuzz_$$*)
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -o $@ $(filter %.c,$^) $(call pkg_libs,$(PKGS)) $(MB_LIBS)

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
