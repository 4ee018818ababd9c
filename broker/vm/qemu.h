/*
 * One QEMU: its command line, and its confinement before it is executed. It has a uid of its own,
 * no capability, no file but /usr and what it is given, no network device, QEMU's own filter
 * (-sandbox), and dies with us.
 */
#ifndef POSTERN_VM_QEMU_H
#define POSTERN_VM_QEMU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define QEMU_PROGRAM "/usr/bin/qemu-system-x86_64"

struct qemu {
	bool kvm;
	uint64_t memory; /* bytes of the guest */
	unsigned smp;
	uint32_t uid;                      /* and group */
	int kernel, initramfs, root, port; /* root may be -1; port: our end stays with the caller */
};

/* Its pid, or -errno. The caller is root and single-threaded. */
pid_t qemu_start(const struct qemu *q, struct err *e);

#endif
