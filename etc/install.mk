# make install: everything where Debian expects it. DESTDIR stages, PREFIX is /usr.

MULTIARCH  := $(shell $(CC) -print-multiarch)
INSTALL    ?= install
# /etc, /usr/lib/systemd and the like do not move with PREFIX on Debian, unless it is somewhere else altogether.
SYSCONF    ?= /etc
LIBDIR     ?= $(PREFIX)/lib
MANDIR     ?= $(PREFIX)/share/man
# as pam(7) is built on Debian: modules in the multiarch directory
PAMDIR     ?= $(LIBDIR)/$(MULTIARCH)/security

MAN_PAGES  = $(wildcard etc/*.[1-8] broker/*/*.[1-8] creds/*.[1-8] creds/tool/*.[1-8] gateway/*/*.[1-8] pam/*.[1-8])
man_section = $(subst .,,$(suffix $(1)))

# Configuration that is there already stays; the new one is put beside it when they differ.
define keep
	@if [ ! -e "$(DESTDIR)$(2)" ]; then $(INSTALL) -D -m 0644 $(1) "$(DESTDIR)$(2)"; \
	elif ! cmp -s $(1) "$(DESTDIR)$(2)"; then \
		$(INSTALL) -m 0644 $(1) "$(DESTDIR)$(2).new"; echo "  kept   $(2); the new one is $(2).new"; fi

endef
define put
	$(Q)$(INSTALL) -D -m $(1) $(2) "$(DESTDIR)$(3)"

endef

.PHONY: install install-programs install-man install-config
install: install-programs install-man install-config

install-programs: all
	$(call put,0755,$(BIN)/postern,$(PREFIX)/bin/postern)
	$(foreach p,$(filter $(LIBEXEC)/%,$(PROGRAMS)),$(call put,0755,$(p),$(PREFIX)/libexec/postern/$(notdir $(p))))
	$(call put,0644,$(SECURITY)/pam_postern.so,$(PAMDIR)/pam_postern.so)

install-man:
	$(foreach m,$(MAN_PAGES),$(call put,0644,$(m),$(MANDIR)/man$(call man_section,$(m))/$(notdir $(m))))

install-config:
	$(call keep,etc/postern.yaml,$(SYSCONF)/postern/postern.yaml)
	$(call keep,etc/templates/default.yaml,$(SYSCONF)/postern/templates/default.yaml)
	$(call put,0644,etc/tenants/example.yaml.sample,$(SYSCONF)/postern/tenants/example.yaml.sample)
	$(foreach f,$(wildcard etc/templates/*.sample),$(call put,0644,$(f),$(SYSCONF)/postern/templates/$(notdir $(f))))
	$(foreach f,$(wildcard etc/pam.d/*),$(call keep,$(f),$(SYSCONF)/pam.d/$(notdir $(f))))
	$(foreach f,$(wildcard etc/sshd/*),$(call put,0644,$(f),$(PREFIX)/share/postern/sshd/$(notdir $(f))))
	$(foreach f,$(wildcard etc/systemd/*.service),$(call put,0644,$(f),$(LIBDIR)/systemd/system/$(notdir $(f))))
	$(foreach f,$(wildcard etc/sysusers.d/*.conf),$(call put,0644,$(f),$(LIBDIR)/sysusers.d/$(notdir $(f))))
	$(foreach f,$(wildcard etc/tmpfiles.d/*.conf),$(call put,0644,$(f),$(LIBDIR)/tmpfiles.d/$(notdir $(f))))
	$(foreach f,$(wildcard etc/sysctl.d/*.conf),$(call put,0644,$(f),$(LIBDIR)/sysctl.d/$(notdir $(f))))
