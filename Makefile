# Postern. `make help` lists the targets.
#
# Everything is built below $(BUILD). `make SAN=1 ...` builds with ASan and UBSan in a directory of its
# own. Packages come from etc/packages.txt, installed by apt when something is missing.

SAN     ?=
WERROR  ?= $(if $(CI),1,)
BUILD   ?= build$(if $(SAN),-san,)
PREFIX  ?= /usr
DESTDIR ?=
JOBS    ?= $(shell nproc)
V       ?=
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

CC      ?= gcc
MUSL_CC ?= musl-gcc
VERSION := $(shell cat VERSION)

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

# ---- flags -------------------------------------------------------------------------------------

try = $(shell printf 'int main(void){return 0;}' | $(1) $(2) -Werror -x c - -o /dev/null 2>/dev/null && echo '$(2)')

WARN_WANTED := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wcast-qual -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wnull-dereference -Wpointer-arith -Wwrite-strings \
	-Wold-style-definition -Wdouble-promotion -Wimplicit-fallthrough -Wlogical-op \
	-Wduplicated-cond -Walloca
HARD_WANTED := -fstack-protector-strong -fstack-clash-protection -fcf-protection \
	-ftrivial-auto-var-init=zero

WARN := $(foreach f,$(WARN_WANTED),$(call try,$(CC),$(f))) -Wno-missing-field-initializers
ifeq ($(SAN),)
HARD := -O2 -D_FORTIFY_SOURCE=3 $(foreach f,$(HARD_WANTED),$(call try,$(CC),$(f)))
else
HARD := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DPOSTERN_SAN
endif

CPPFLAGS := -D_GNU_SOURCE -I. -I$(BUILD)/gen -DPOSTERN_VERSION='"$(VERSION)"'
CFLAGS   := -std=gnu17 -g -pthread -fPIC -ffunction-sections -fdata-sections $(WARN) $(HARD) $(if $(WERROR),-Werror)
LDFLAGS  := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections -Wl,--as-needed \
	$(if $(SAN),-fsanitize=address -fsanitize=undefined)

LIBS := -ljansson -lyaml -levent_core -lcrypto -lcap -lzstd -larchive

# ---- rooms: an archive each --------------------------------------------------------------------

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
sources = $(filter-out %main.c,$(wildcard $(1)))

LIB_SRC     := $(call sources,lib/*.c)
CREDS_SRC   := $(call sources,creds/*.c)
GATEWAY_SRC := $(call sources,gateway/ssh/*.c)
PAM_SRC     := $(filter-out pam/pam_postern.c,$(call sources,pam/*.c))
BROKER_SRC  := $(call sources,$(foreach d,supervisor core store audit spawn lease ctl export witness workspace vm walk watch image,broker/$(d)/*.c))
BROKER_SRC  := $(filter-out broker/spawn/filter_gen.c,$(BROKER_SRC))
INIT_SRC    := $(wildcard broker/init/*.c) lib/buf.c lib/reader.c
CRED_SRC    := $(wildcard creds/tool/*.c)

A_LIB     := $(BUILD)/lib.a
A_CREDS   := $(BUILD)/creds.a
A_GATEWAY := $(BUILD)/gateway.a
A_PAM     := $(BUILD)/pam.a
A_BROKER  := $(BUILD)/broker.a

$(A_LIB): $(call obj,$(LIB_SRC))
$(A_CREDS): $(call obj,$(CREDS_SRC))
$(A_GATEWAY): $(call obj,$(GATEWAY_SRC))
$(A_PAM): $(call obj,$(PAM_SRC))
$(A_BROKER): $(call obj,$(BROKER_SRC) broker/init/proto.c broker/init/mux.c)

$(BUILD)/%.a:
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcsD $@ $^

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# ---- seccomp programs, compiled once, at build time ---------------------------------------------

FILTERS := $(BUILD)/gen/filters.h
$(BUILD)/tool/filter_gen: broker/spawn/filter_gen.c broker/spawn/filter_lists.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) $< -o $@ $(LDFLAGS) -lseccomp
$(FILTERS): $(BUILD)/tool/filter_gen
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && $< > $@.tmp && mv $@.tmp $@
# The agent's with a part left out at a time, for tests (lib/defence.h).
$(BUILD)/gen/filters_weak.h: $(BUILD)/tool/filter_gen
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && $< weak > $@.tmp && mv $@.tmp $@
$(call obj,tests/support/defence.c): $(BUILD)/gen/filters_weak.h
# whoever includes filters.h
FILTER_USERS := $(shell grep -ls '"filters.h"' $(wildcard lib/*.c creds/*.c gateway/ssh/*.c pam/*.c broker/*/*.c tests/*/*.c))
$(call obj,$(FILTER_USERS)): $(FILTERS)

# ---- programs ----------------------------------------------------------------------------------

BIN     := $(BUILD)/bin
LIBEXEC := $(BUILD)/libexec/postern
SECURITY := $(BUILD)/lib/security

link = $(call say,LD,$@)
define LINK
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -o $@ $(LDFLAGS) $(LIBS) $(1)
endef

$(BIN)/postern: $(call obj,broker/ctl/main.c) $(A_BROKER) $(A_CREDS) $(A_LIB)
	$(call LINK,-llmdb -lsystemd)
$(LIBEXEC)/postern-supervisor: $(call obj,broker/supervisor/main.c) $(A_BROKER) $(A_CREDS) $(A_LIB)
	$(call LINK,-lsystemd)
$(LIBEXEC)/postern-core: $(call obj,broker/core/main.c) $(A_BROKER) $(A_CREDS) $(A_LIB)
	$(call LINK,-llmdb)
$(LIBEXEC)/postern-spawn: $(call obj,broker/spawn/main.c) $(A_BROKER) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-lease: $(call obj,broker/lease/main.c) $(A_BROKER) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-vm: $(call obj,broker/vm/main.c) $(A_BROKER) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-walk: $(call obj,broker/walk/main.c) $(A_BROKER) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-watch: $(call obj,broker/watch/main.c) $(A_BROKER) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-signer: $(call obj,creds/signer_main.c) $(A_CREDS) $(A_LIB)
	$(call LINK,)
$(LIBEXEC)/postern-gateway: $(call obj,gateway/ssh/main.c) $(A_GATEWAY) $(A_LIB)
	$(call LINK,-lssh)
$(LIBEXEC)/postern-witness: $(call obj,broker/witness/main.c) $(A_BROKER) $(A_CREDS) $(A_LIB)
	$(call LINK,-lmicrohttpd)
$(LIBEXEC)/postern-export: $(call obj,broker/export/main.c) $(A_BROKER) $(A_CREDS) $(A_LIB)
	$(call LINK,-lcurl)
$(LIBEXEC)/postern-run: $(call obj,pam/run_main.c) $(A_PAM) $(A_LIB)
	$(call LINK,)
$(SECURITY)/pam_postern.so: $(call obj,pam/pam_postern.c) $(A_PAM) $(A_LIB)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -shared $(filter %.o,$^) $(filter %.a,$^) -o $@ $(filter-out -pie,$(LDFLAGS)) -Wl,--exclude-libs,ALL -lpam -ljansson

# The two programs that live inside a sandbox are static, small and without glibc (a glibc start
# costs 0.6 ms where CPUID traps). They are not built with sanitizers.
MUSL_FLAGS := -std=gnu17 -D_GNU_SOURCE -I. -Os -g0 -static -s -fno-asynchronous-unwind-tables \
	-fstack-protector-strong -ffunction-sections -fdata-sections -Wall -Wextra -Wl,--gc-sections \
	-Wl,-z,noexecstack -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch)
$(LIBEXEC)/postern-init: $(INIT_SRC) $(wildcard broker/init/*.h) lib/buf.h lib/reader.h $(FILTERS)
	$(call say,MUSL,$@)
	$(Q)mkdir -p $(@D) && $(MUSL_CC) $(MUSL_FLAGS) -I$(BUILD)/gen $(INIT_SRC) -o $@
$(LIBEXEC)/postern-cred: $(CRED_SRC)
	$(call say,MUSL,$@)
	$(Q)mkdir -p $(@D) && $(MUSL_CC) $(MUSL_FLAGS) $(CRED_SRC) -o $@

$(LIBEXEC)/microvm-image: etc/microvm-image
	$(Q)mkdir -p $(@D) && cp $< $@ && chmod 755 $@

PROGRAMS := $(BIN)/postern $(addprefix $(LIBEXEC)/postern-,supervisor core spawn lease walk watch signer export gateway run init cred witness vm) \
	$(SECURITY)/pam_postern.so $(LIBEXEC)/microvm-image

.PHONY: all
all: $(PROGRAMS)

# ---- tests -------------------------------------------------------------------------------------
# A test is a program that prints TAP. tests/unit and tests/root hold one file of C each (cmocka),
# tests/*/*.sh and *.py are run as they are; tests/runner runs them in parallel and counts.

TEST_C    = $(wildcard tests/$(1)/test_*.c)
test_bins = $(patsubst tests/%.c,$(BUILD)/tests/%,$(call TEST_C,$(1)))
SUPPORT_SRC := $(filter-out tests/support/defence_init.c,$(wildcard tests/support/*.c))
A_SUPPORT := $(BUILD)/support.a
$(A_SUPPORT): $(call obj,$(SUPPORT_SRC))

# Spawn and init with switches for their defences (lib/defence.h), which one test links and starts.
WEAK_OBJ := $(patsubst %.c,$(BUILD)/weak/%.o,$(filter broker/spawn/%,$(BROKER_SRC)))
$(BUILD)/weak/%.o: %.c $(FILTERS)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -DPOSTERN_DEFENCES -MMD -MP -c $< -o $@
WEAK_LIBEXEC := $(BUILD)/weak/libexec
$(WEAK_LIBEXEC)/postern-init: $(INIT_SRC) tests/support/defence_init.c $(wildcard broker/init/*.h) lib/defence.h $(FILTERS)
	$(call say,MUSL,$@)
	$(Q)mkdir -p $(@D) && $(MUSL_CC) $(MUSL_FLAGS) -I$(BUILD)/gen -DPOSTERN_DEFENCES $(filter %.c,$^) -o $@
$(BUILD)/tests/root/test_defences: $(WEAK_OBJ) $(WEAK_LIBEXEC)/postern-init

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(A_SUPPORT) $(A_BROKER) $(A_GATEWAY) $(A_PAM) $(A_CREDS) $(A_LIB)
	$(call LINK,-lcmocka -llmdb -lssh -lsystemd -lpam -lutil -ldl -lcurl)

# These have the disk under their store in their own hands (tests/baddays/disk.h).
$(BUILD)/tests/unit/test_bad_power $(BUILD)/tests/unit/test_bad_disk: $(call obj,tests/baddays/disk.c)

RUNNER = tests/runner --build $(BUILD) --jobs $(JOBS)
scripts = $(wildcard tests/$(1)/test_*.sh tests/$(1)/test_*.py)

.PHONY: deps check check-unit check-root check-e2e check-vm soak lint bench fuzz demo up install clean help format files
deps:
	@sh etc/install-packages etc/packages.txt

check: export VM_TESTS ?= short
check: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(call test_bins,unit) $(call test_bins,root) $(call test_bins,e2e) fuzz-replay $(VM_WRITER)
	@$(RUNNER) --timeout 600 $(call test_bins,unit) $(call scripts,unit) $(FUZZ_REPLAY) \
		$(call test_bins,root) $(call scripts,root) $(call test_bins,e2e) $(call scripts,e2e) \
		$(call scripts,vm)
check-unit: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(call test_bins,unit) fuzz-replay
	@$(RUNNER) $(call test_bins,unit) $(call scripts,unit) $(FUZZ_REPLAY)
check-root: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(call test_bins,root)
	@$(RUNNER) $(call test_bins,root) $(call scripts,root)
check-e2e: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(call test_bins,e2e)
	@$(RUNNER) $(call test_bins,e2e) $(call scripts,e2e)

# Virtual machines (tests/vm/vm.py), emulated: a power cut, and the root and end-to-end tests on
# Debian's kernel (etc/vm-packages.txt, fetched once into $(BUILD)/vm) with version 2 of cgroups alone.
VM_WRITER := $(BUILD)/tests/vm/writer
check-vm: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(VM_WRITER) $(call test_bins,root) $(call test_bins,e2e)
	@POWER_CUTS=100 $(RUNNER) --timeout 10800 -v $(call scripts,vm)

# The long forms of the bad days: kills of the writer, each moment of a power cut looked at closely.
SOAK = test_bad_kill test_bad_power test_bad_disk
soak: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(addprefix $(BUILD)/tests/unit/,$(SOAK)) $(BUILD)/tests/root/test_sandbox_churn $(VM_WRITER)
	@CHURN_SECONDS=600 BADDAYS_CYCLES=20000 BADDAYS_EVERY=1 CORE_KILLS=100 POWER_CUTS=1000 POWER_COMMITS=20000 \
		$(RUNNER) --timeout 3600 -v $(addprefix $(BUILD)/tests/unit/,$(SOAK)) $(BUILD)/tests/root/test_sandbox_churn \
		tests/e2e/test_core_kill.py tests/vm/test_power_cut.py

# Fuzz targets: tests/fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput. `make fuzz` explores with
# libFuzzer; the ordinary tests replay tests/fuzz/corpus/NAME and 10,000 derived inputs.
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAY := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/replay/%,$(FUZZ_SRC))
$(BUILD)/tests/replay/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(A_BROKER) $(A_PAM) $(A_CREDS) $(A_LIB)
	$(call LINK,-llmdb)
.PHONY: fuzz-replay
fuzz-replay: $(FUZZ_REPLAY)
FUZZ_SECONDS ?= 60
fuzz: deps
	@CC=clang BUILD=$(BUILD) SECONDS_EACH=$(FUZZ_SECONDS) sh tests/fuzz/explore.sh

.PHONY: escape
escape: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/tests/root/test_escapes
	@$(BUILD)/tests/root/test_escapes table
lint:
	@sh tests/lint.sh
files:
	@python3 tests/purpose.py
format:
	clang-format -i $$(git ls-files '*.c' '*.h')
bench: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/*.c))
	@BUILD=$(BUILD) python3 tests/bench/run.py
demo: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@sh tests/demo.sh $(BUILD)
up: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@sh tests/up.sh $(BUILD)

-include etc/install.mk

clean:
	rm -rf build build-san

help:
	@sed -n 's/^## //p' Makefile
## all            build everything below build/
## demo           install what is missing, build, and show a whole session in a minute
## up             the same set-up, in the foreground until Ctrl-C
## check          every test; check-unit, check-root, check-e2e alone; SAN=1 with sanitizers
## check-vm       power cuts, and the root and e2e tests on Debian's kernel with pure cgroup v2, in emulated machines
## soak           the bad days at length: 20,000 kills, every moment of a power cut
## bench          the numbers, ours and the peers', as a table and in build/bench.jsonl
## fuzz           explore with libFuzzer for FUZZ_SECONDS a target
## escape         attacks on a sandbox, natively and inside, side by side
## lint           layers, headers, banned functions, formatting
## files          what each source file is for
## install        DESTDIR= PREFIX=

-include $(shell find $(BUILD)/obj $(BUILD)/weak -name '*.d' 2>/dev/null)
