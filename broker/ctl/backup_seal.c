#include "broker/ctl/backup_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "creds/sealer.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/secret.h"
#include "lib/util.h"

static bool has_one(int dir)
{
	struct stat st;

	/* what sealer_open() does not find it makes */
	return fstatat(dir, SEALER_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == SEALER_FILE_BYTES;
}

static bool same_keys(const struct sealer *a, const struct sealer *b)
{
	uint8_t of_a[2][NOTE_KEY_LEN], of_b[2][NOTE_KEY_LEN], epoch[NOTE_KEY_LEN];

	sealer_keys(a, of_a[0], epoch, of_a[1]);
	sealer_keys(b, of_b[0], epoch, of_b[1]);
	return memcmp(of_a, of_b, sizeof of_a) == 0;
}

/* A log that was set back counts from its break on. */
static bool is_behind(const struct sealer *now, const struct sealer *then)
{
	const char *log;

	if (sealer_epoch(now) < sealer_epoch(then))
		return true;
	for (size_t i = 0; (log = sealer_log(then, i)); i++) {
		uint32_t breaks = sealer_breaks(now, log), before = sealer_breaks(then, log);
		struct checkpoint a, b;

		sealer_last(now, log, &a);
		sealer_last(then, log, &b);
		if (breaks < before || (breaks == before && a.size < b.size))
			return true;
	}
	return false;
}

static int copy(int from, int to, struct err *e)
{
	cleanup_secret struct secret *image = secret_new(SEALER_FILE_BYTES);
	cleanup_close int in = openat(from, SEALER_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int out = openat(to, SEALER_FILE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (!image)
		return err_set(e, -ENOMEM, "no memory");
	if (in < 0 || out < 0)
		return err_set(e, -errno, "%s: %m", SEALER_FILE);
	if ((r = fd_read_full(in, secret_data(image), SEALER_FILE_BYTES)) < 0 ||
	    (r = fd_write_full(out, secret_data(image), SEALER_FILE_BYTES)) < 0 ||
	    (r = fsync(out) < 0 ? -errno : 0) < 0)
		return err_set(e, r, "%s cannot be copied: %s", SEALER_FILE, strerror(-r));
	return 0;
}

int backup_keep_seal(int now, int restored, bool *ret_kept, struct err *e)
{
	struct sealer *a = NULL, *b = NULL;
	struct err why = ERR_INIT;
	bool keep = has_one(now) && has_one(restored) && sealer_open(now, &a, &why) == 0 &&
	            sealer_open(restored, &b, &why) == 0 && same_keys(a, b) && !is_behind(a, b);
	int r;

	sealer_free(a);
	sealer_free(b);
	if (keep && (r = copy(now, restored, e)) < 0)
		return r;
	*ret_kept = keep;
	return 0;
}
