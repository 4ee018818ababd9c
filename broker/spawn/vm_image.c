#include "broker/spawn/vm_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/plan.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

int vm_file(int dir, const char *path, struct err *e)
{
	cleanup_close int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m (microvm-image makes it)", path);
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
		return err_set(
		    e, -EPERM, "%s must be a file of root's that nobody else can write", path);
	return steal_fd(&fd);
}

int vm_image_open(const struct host *h, const struct plan *p, struct err *e)
{
	char path[PLAN_PATH_MAX + 8];

	if (p->root == PLAN_ROOT_DIRECTORY) {
		(void)snprintf(path, sizeof path, "%s.img", p->root_path + 1);
		return vm_file(h->root_fd, path, e);
	}
	(void)snprintf(
	    path, sizeof path, "microvm/%s.img", p->root == PLAN_ROOT_IMAGE ? p->image : "host");
	return vm_file(h->state_fd, path, e);
}

int vm_image_digest(struct vm_image *m, int fd, struct err *e)
{
	uint8_t data[65536], sum[DIGEST_LEN];
	struct digest *d;
	struct stat st;
	off_t at = 0;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "the root image: %m");
	if (m->digest[0] && st.st_dev == m->of.st_dev && st.st_ino == m->of.st_ino &&
	    st.st_size == m->of.st_size &&
	    memcmp(&st.st_ctim, &m->of.st_ctim, sizeof st.st_ctim) == 0)
		return 0;
	if (!(d = digest_new()))
		return err_set(e, -ENOMEM, "no memory");
	while ((n = pread(fd, data, sizeof data, at)) > 0) {
		digest_update(d, data, (size_t)n);
		at += n;
	}
	digest_final(d, sum);
	digest_free(d);
	if (n < 0)
		return err_set(e, -errno, "the root image: %m");
	hex_encode(m->digest, sum, sizeof sum);
	m->of = st;
	return 0;
}
