#include "creds/sealer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "creds/key_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/secret.h"
#include "lib/util.h"

/*
 * A slot: magic, u32 version, u64 counter, u64 epoch, seed of the log key, seed of the epoch,
 * public key of epoch 0, string origin, u32 number of logs, for each string name, u64 size, root;
 * since version 2 also for each log u16 how often it was set back, and behind the logs the last
 * time that one was: string name, u64 old size, old root, u64 size, root, u64 time; zeros; and at
 * its very end the SHA-256 of all before. It passes through struct secret only.
 */

static const char magic[8] = {'P', 'O', 'S', 'T', 'S', 'E', 'A', 'L'};
#define VERSION 2
#define BODY    (SEALER_SLOT - DIGEST_LEN)

uint8_t *sealer_log_seed(const struct sealer *s)
{
	return secret_data(s->seeds);
}

uint8_t *sealer_epoch_seed(const struct sealer *s)
{
	return secret_data(s->seeds) + SEED_LEN;
}

/* ---- writing ---- */

static int pack(struct sealer *s, uint64_t counter)
{
	struct buf b;

	memset(secret_data(s->image), 0, SEALER_SLOT);
	buf_over_secret(&b, s->image);
	buf_put(&b, magic, sizeof magic);
	buf_put_u32(&b, VERSION);
	buf_put_u64(&b, counter);
	buf_put_u64(&b, s->epoch);
	buf_put(&b, secret_data(s->seeds), 2 * (size_t)SEED_LEN);
	buf_put(&b, s->first, sizeof s->first);
	buf_put_cstring(&b, s->origin);
	buf_put_u32(&b, (uint32_t)s->nlogs);
	for (size_t i = 0; i < s->nlogs; i++) {
		buf_put_cstring(&b, s->logs[i].name);
		buf_put_u64(&b, s->logs[i].size);
		buf_put(&b, s->logs[i].root, DIGEST_LEN);
		buf_put_u8(&b, (uint8_t)(s->logs[i].breaks >> 8));
		buf_put_u8(&b, (uint8_t)s->logs[i].breaks);
	}
	buf_put_cstring(&b, s->broken.name);
	buf_put_u64(&b, s->broken.old_size);
	buf_put(&b, s->broken.old_root, DIGEST_LEN);
	buf_put_u64(&b, s->broken.size);
	buf_put(&b, s->broken.root, DIGEST_LEN);
	buf_put_u64(&b, (uint64_t)s->broken.time_s);
	if (buf_status(&b) < 0 || b.len > BODY)
		return -ENOBUFS;
	digest_sha256(secret_data(s->image), BODY, secret_data(s->image) + BODY);
	return 0;
}

static int write_slot(struct sealer *s, int fd, unsigned slot)
{
	const uint8_t *p = secret_data(s->image);
	size_t done = 0;

	while (done < SEALER_SLOT) {
		ssize_t n =
		    pwrite(fd, p + done, SEALER_SLOT - done, (off_t)(slot * SEALER_SLOT + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

int sealer_store(struct sealer *s, struct err *e)
{
	unsigned slot = 1 - s->slot;
	int r;

	if ((r = pack(s, s->counter + 1)) == 0)
		r = write_slot(s, s->fd, slot);
	secret_wipe(secret_data(s->image), SEALER_SLOT);
	if (r < 0)
		return err_set(e, r, "%s cannot be written: %s", SEALER_FILE, strerror(-r));
	s->slot = slot;
	s->counter++;
	return 0;
}

int sealer_create(struct sealer *s, int keys_fd, struct err *e)
{
	static const char tmp[] = SEALER_FILE ".new";
	cleanup_close int fd = -1;
	int r;

	if (unlinkat(keys_fd, tmp, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s: %m", tmp);
	fd = openat(keys_fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", tmp);
	if ((r = pack(s, 1)) == 0 && (r = write_slot(s, fd, 0)) == 0 && (r = pack(s, 2)) == 0)
		r = write_slot(s, fd, 1);
	secret_wipe(secret_data(s->image), SEALER_SLOT);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat2(keys_fd, tmp, keys_fd, SEALER_FILE, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r == 0) {
		cleanup_close int dir = openat(keys_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0 || fsync(dir) < 0)
			r = -errno;
	}
	if (r < 0)
		return err_set(e, r, "%s cannot be made: %s", SEALER_FILE, strerror(-r));
	s->fd = steal_fd(&fd);
	s->slot = 1;
	s->counter = 2;
	return 0;
}

/* ---- reading ---- */

static int read_log(struct reader *in, uint32_t version, struct sealed *l)
{
	uint8_t high = 0, low = 0;
	const uint8_t *root;
	int r;

	if ((r = reader_cstring(in, l->name, sizeof l->name)) < 0 ||
	    (r = reader_u64(in, &l->size)) < 0 || (r = reader_bytes(in, DIGEST_LEN, &root)) < 0 ||
	    (version > 1 && ((r = reader_u8(in, &high)) < 0 || (r = reader_u8(in, &low)) < 0)))
		return r;
	memcpy(l->root, root, DIGEST_LEN);
	l->breaks = (uint32_t)high << 8 | low;
	/* only what was set back to its beginning is empty */
	if (*l->name == '\0' || l->size > INT64_MAX || (l->size == 0 && l->breaks == 0))
		return -EBADMSG;
	return 0;
}

static int read_break(struct reader *in, struct sealed_break *b)
{
	const uint8_t *old_root, *root;
	uint64_t time;
	int r;

	if ((r = reader_cstring(in, b->name, sizeof b->name)) < 0 ||
	    (r = reader_u64(in, &b->old_size)) < 0 ||
	    (r = reader_bytes(in, DIGEST_LEN, &old_root)) < 0 ||
	    (r = reader_u64(in, &b->size)) < 0 || (r = reader_bytes(in, DIGEST_LEN, &root)) < 0 ||
	    (r = reader_u64(in, &time)) < 0)
		return r;
	memcpy(b->old_root, old_root, DIGEST_LEN);
	memcpy(b->root, root, DIGEST_LEN);
	b->time_s = (int64_t)time;
	return b->old_size <= INT64_MAX && b->size <= INT64_MAX && time <= INT64_MAX ? 0 : -EBADMSG;
}

/* The image into s; s is only half filled after an error. */
static int unpack(struct sealer *s)
{
	const uint8_t *p = secret_data(s->image), *seeds, *first;
	uint8_t digest[DIGEST_LEN];
	uint32_t version, n;
	struct reader in;

	digest_sha256(p, BODY, digest);
	if (memcmp(digest, p + BODY, DIGEST_LEN) != 0 || memcmp(p, magic, sizeof magic) != 0)
		return -EBADMSG;
	reader_init(&in, p + sizeof magic, BODY - sizeof magic);
	if (reader_u32(&in, &version) < 0 || version == 0 || version > VERSION ||
	    reader_u64(&in, &s->counter) < 0 || reader_u64(&in, &s->epoch) < 0 ||
	    reader_bytes(&in, 2 * (size_t)SEED_LEN, &seeds) < 0 ||
	    reader_bytes(&in, NOTE_KEY_LEN, &first) < 0 ||
	    reader_cstring(&in, s->origin, sizeof s->origin) < 0 || reader_u32(&in, &n) < 0 ||
	    n > SEALER_LOGS_MAX)
		return -EBADMSG;
	for (s->nlogs = 0; s->nlogs < n; s->nlogs++) {
		memset(&s->logs[s->nlogs], 0, sizeof s->logs[0]);
		if (read_log(&in, version, &s->logs[s->nlogs]) < 0)
			return -EBADMSG;
	}
	memset(&s->broken, 0, sizeof s->broken);
	if (version > 1 && read_break(&in, &s->broken) < 0)
		return -EBADMSG;
	memcpy(secret_data(s->seeds), seeds, 2 * (size_t)SEED_LEN);
	memcpy(s->first, first, NOTE_KEY_LEN);
	return 0;
}

static int read_slot(struct sealer *s, unsigned slot)
{
	ssize_t n = pread(s->fd, secret_data(s->image), SEALER_SLOT, (off_t)(slot * SEALER_SLOT));

	if (n < 0)
		return -errno;
	return n == SEALER_SLOT ? unpack(s) : -EBADMSG;
}

static int open_file(struct sealer *s, int keys_fd, struct err *e)
{
	struct stat st;
	int fd = fd_open_beneath(keys_fd, SEALER_FILE, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, fd, "%s: %s", SEALER_FILE, strerror(-fd));
	s->fd = fd;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", SEALER_FILE);
	if (!S_ISREG(st.st_mode) || st.st_size != SEALER_FILE_BYTES)
		return err_set(e, -EUCLEAN, "%s: not the signer's state", SEALER_FILE);
	if ((st.st_mode & 077) != 0)
		return err_set(e, -EACCES, "%s: others than its owner can use it (mode %04o)",
		    SEALER_FILE, (unsigned)st.st_mode & 07777u);
	return 0;
}

int sealer_load(struct sealer *s, int keys_fd, struct err *e)
{
	uint64_t counter[2] = {0}, epoch[2] = {0};
	int whole[2], r;

	if ((r = open_file(s, keys_fd, e)) < 0)
		return r;
	for (unsigned i = 0; i < 2; i++) {
		whole[i] = read_slot(s, i);
		if (whole[i] < 0 && whole[i] != -EBADMSG)
			return err_set(e, whole[i], "%s: %s", SEALER_FILE, strerror(-whole[i]));
		counter[i] = s->counter;
		epoch[i] = s->epoch;
	}
	if (whole[0] < 0 && whole[1] < 0)
		return err_set(e, -EUCLEAN, "%s: neither of its two halves is whole", SEALER_FILE);
	s->slot = whole[0] == 0 && (whole[1] < 0 || counter[0] > counter[1]) ? 0 : 1;
	r = read_slot(s, s->slot);
	secret_wipe(secret_data(s->image), SEALER_SLOT);
	if (r < 0)
		return err_set(e, r, "%s: %s", SEALER_FILE, strerror(-r));
	/* a ratchet that was interrupted, or a torn slot, which may hold anything */
	s->stale = whole[1 - s->slot] < 0 || epoch[0] != epoch[1];
	return 0;
}
