#include "broker/ctl/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/ctl/audit_origin.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern backup: the file is written under another name and gets its own when all of it is on the
 * disk. Only a child that has become the store's owner looks into the store.
 */

#define TICK_MS 200

struct job {
	struct ctl *c;
	int fd;
	uint64_t at;
	json_t *files;
	struct err e;
};

/* ---- a file's place in it ---- */

static int note(struct job *j, const char *name, uint64_t from)
{
	uint8_t digest[DIGEST_LEN];
	char hex[DIGEST_HEX_LEN + 1];
	off_t end = lseek(j->fd, 0, SEEK_CUR);
	uint64_t size = (uint64_t)end - from - TAR_BLOCK;
	int r;

	if ((r = backup_digest(j->fd, from + TAR_BLOCK, size, digest)) < 0)
		return ctl_fail(EXIT_FAILED, "cannot read it back: %s", strerror(-r));
	if (lseek(j->fd, end, SEEK_SET) < 0 || tar_finish(j->fd, from, name, &j->at, &j->e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&j->e));
	hex_encode(hex, digest, DIGEST_LEN);
	return json_object_set_new(j->files, name,
	           json_pack("{s:I, s:s}", "size", (json_int_t)size, "sha256", hex)) < 0
	           ? ctl_fail(EXIT_FAILED, "no memory")
	           : EXIT_OK;
}

static int on_config(const char *path, int fd, mode_t mode, off_t size, void *arg)
{
	struct job *j = arg;
	uint64_t from = j->at;
	size_t len = strlen(path);
	int r;

	/* a sink's key or headers, as the configuration wants them to be */
	if ((mode & S_IRWXO) == 0 && (len < 5 || strcmp(path + len - 5, ".yaml") != 0)) {
		(void)fprintf(stderr,
		    "postern: %s is a secret and is not in the backup: keep it elsewhere\n", path);
		return EXIT_OK;
	}
	if (tar_begin(j->fd, from, &j->e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&j->e));
	if ((r = copy_bytes(fd, 0, j->fd, size)) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", path, strerror(-r));
	return note(j, path, from);
}

static int put_config(struct job *j)
{
	char path[PATH_MAX];
	cleanup_close int dir =
	    open(ctl_path(j->c, "etc", "/etc/postern", path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? ctl_fail(EXIT_FAILED, "%s: %m", path)
	               : backup_walk(dir, "etc", BACKUP_TEXT_MAX, on_config, j);
}

/* What a running Postern says its keys are: whoever restores can check the seals. */
static int put_keys(struct job *j, struct chan *link)
{
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;
	uint64_t from = j->at;
	const char *text;
	size_t i;
	json_t *o;

	buf_init(&b, BACKUP_TEXT_MAX);
	if (ctl_ask(link, "ctl.keys", json_object(), &m) != EXIT_OK)
		return EXIT_OK; /* the store is worth having all the same; said */
	if ((text = json_string_value(json_object_get(msg_obj(&m, "data"), "first"))))
		buf_printf(&b, "%s\n", text);
	json_array_foreach(json_object_get(msg_obj(&m, "data"), "logs"), i, o)
	{
		if ((text = json_string_value(json_object_get(o, "key"))))
			buf_printf(&b, "%s\n", text);
	}
	msg_done(&m);
	if (buf_status(&b) < 0 || tar_begin(j->fd, from, &j->e) < 0 ||
	    fd_write_full(j->fd, b.data, b.len) < 0)
		return ctl_fail(EXIT_FAILED, "cannot write: %m");
	return note(j, BACKUP_KEYS, from);
}

/* ---- the store ---- */

struct copying {
	int dir, out;
	const char *where;
};

static int copy_store(void *arg)
{
	const struct store_config config = {.read_only = true};
	const struct copying *k = arg;
	cleanup_store struct store *s = NULL;
	struct err e = ERR_INIT;
	int r = audit_become_owner(k->dir, &e);

	if (r == 0 && (r = store_open(k->dir, &config, &s, &e)) == 0)
		r = store_copy(s, k->out, &e);
	return r < 0 ? ctl_fail(EXIT_FAILED, "%s: %s", k->where, err_text(&e)) : EXIT_OK;
}

static void show(int fd, bool tty, bool last)
{
	char text[24];
	off_t at = lseek(fd, 0, SEEK_CUR);

	if (tty)
		(void)fprintf(
		    stderr, "\r%s written%s", size_text(text, sizeof text, at), last ? "\n" : " ");
}

static int put_store(struct job *j)
{
	char path[PATH_MAX];
	cleanup_close int dir = open(ctl_path(j->c, "core", "/var/lib/postern/core", path),
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct copying k = {dir, j->fd, path};
	bool tty = !j->c->json && isatty(STDERR_FILENO) == 1;
	uint64_t from = j->at;
	int status = 0;
	pid_t pid, done;

	if (dir < 0)
		return ctl_fail(EXIT_MISSING, "there is no store: %s: %m", path);
	if (tar_begin(j->fd, from, &j->e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&j->e));
	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		status = copy_store(&k);
		(void)fflush(NULL);
		_exit(status);
	}
	while (pid > 0 && (done = waitpid(pid, &status, tty ? WNOHANG : 0)) != pid) {
		if (done < 0 && errno != EINTR)
			break;
		show(j->fd, tty, false);
		(void)poll(NULL, 0, TICK_MS);
	}
	if (pid < 0 || !WIFEXITED(status))
		return ctl_fail(EXIT_FAILED, "the store was not copied");
	if (WEXITSTATUS(status) != EXIT_OK)
		return WEXITSTATUS(status); /* said */
	show(j->fd, tty, true);
	return note(j, BACKUP_STORE, from);
}

/* ---- all of it ---- */

static int put_manifest(struct job *j)
{
	char time[32];
	json_t *o;
	char *text;
	int r;

	clock_format(time, sizeof time, clock_wall_ns());
	o = json_pack("{s:i, s:s, s:s, s:O}", "format", BACKUP_FORMAT, "version", POSTERN_VERSION,
	    "time", time, "files", j->files);
	text = json_dumps(o, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_SORT_KEYS);
	json_decref(o);
	if (!text)
		return ctl_fail(EXIT_FAILED, "no memory");
	r = tar_add(j->fd, &j->at, BACKUP_MANIFEST, text, strlen(text), &j->e);
	free(text);
	if (r == 0)
		r = tar_end(j->fd, j->at, &j->e);
	return r < 0 ? ctl_fail(EXIT_FAILED, "%s", err_text(&j->e)) : EXIT_OK;
}

static int write_all(struct job *j)
{
	struct chan *link = NULL;
	int code = ctl_dial(j->c, &link, 1);

	if (code == EXIT_OK)
		code = put_config(j);
	else if (code == EXIT_NO_DAEMON)
		code = put_config(j);
	if (code == EXIT_OK && link)
		code = put_keys(j, link);
	chan_free(link);
	if (code == EXIT_OK)
		code = put_store(j);
	return code == EXIT_OK ? put_manifest(j) : code;
}

static int sync_dir_of(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	cleanup_close int fd = -1;

	if (!str_copy(dir, sizeof dir, path))
		return -ENAMETOOLONG;
	if ((slash = strrchr(dir, '/')))
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int write_file(struct ctl *c, const char *file)
{
	char tmp[PATH_MAX];
	struct job j = {.c = c, .fd = -1, .e = ERR_INIT};
	int code;

	if (snprintf(tmp, sizeof tmp, "%s.partial", file) >= (int)sizeof tmp)
		return ctl_fail(EXIT_USAGE, "the path is too long");
	j.fd = open(tmp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j.fd < 0 || backup_own(j.fd) < 0 || flock(j.fd, LOCK_EX | LOCK_NB) < 0 ||
	    ftruncate(j.fd, 0) < 0) {
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", tmp);
		util_close(&j.fd);
		return code;
	}
	j.files = json_object();
	if ((code = write_all(&j)) == EXIT_OK &&
	    (fsync(j.fd) < 0 || rename(tmp, file) < 0 || sync_dir_of(file) < 0))
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", file);
	if (code != EXIT_OK)
		(void)unlink(tmp);
	json_decref(j.files);
	util_close(&j.fd);
	return code;
}

int ctl_backup(struct ctl *c)
{
	const char *keys = ctl_opt(c, "keys"), *pass = ctl_opt(c, "passphrase-file");
	cleanup_secret struct secret *passphrase = NULL;
	cleanup_close int state = -1;
	char path[PATH_MAX], size[24];
	struct stat st = {0};
	unsigned nkeys = 0;
	int code;

	if (!keys != !pass)
		return ctl_fail(EXIT_USAGE, "--keys and --passphrase-file go together");
	ctl_path(c, ".", "/var/lib/postern", path);
	if ((state = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", path);
	if (keys && ((code = backup_passphrase(pass, &passphrase)) != EXIT_OK ||
	                /* before the store: what seals is then never newer than what is sealed */
	                (code = backup_keys_write(state, keys, passphrase, &nkeys)) != EXIT_OK))
		return code;
	if ((code = write_file(c, c->word[0])) != EXIT_OK)
		return code;
	(void)stat(c->word[0], &st);
	if (c->json) {
		json_auto_t *o = json_pack("{s:s, s:I, s:i}", "file", c->word[0], "bytes",
		    (json_int_t)st.st_size, "keys", (int)nkeys);

		return ctl_json(o);
	}
	(void)printf("%s: %s\n", c->word[0], size_text(size, sizeof size, st.st_size));
	if (keys)
		(void)printf("%s: %u files of keys, encrypted\n", keys, nkeys);
	else
		(void)puts("The host's keys are not in it: --keys FILE --passphrase-file FILE");
	return EXIT_OK;
}
