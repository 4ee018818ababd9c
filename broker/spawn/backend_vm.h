/*
 * The back end of virtual machines: QEMU with a kernel and an image of its own for each session,
 * and postern-vm (broker/vm/) as the bridge to the same init inside. It shares the cgroups, the ids
 * and the spare network namespaces of the back end of namespaces.
 *
 * STATE/spawn/microvm holds vmlinuz, initramfs and version, made by microvm-image; the image of a
 * template's root DIRECTORY is DIRECTORY.img, that of an unpacked image microvm/HEX.img, that of
 * the host microvm/host.img. What the tier cannot enforce fails the start by its name.
 */
#ifndef POSTERN_SPAWN_BACKEND_VM_H
#define POSTERN_SPAWN_BACKEND_VM_H

#include <stddef.h>

struct backend;

/* ns: borrowed, outlives it. NULL: this host cannot; why[size] says what is missing. */
struct backend *backend_vm_new(struct backend *ns, char *why, size_t size);

#endif
