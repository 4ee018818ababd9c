#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/audit/log_feed.h"
#include "broker/audit/logs.h"
#include "broker/audit/ranges.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/audit_origin.h"
#include "broker/ctl/backup.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern restore: everything is checked before anything is replaced, and what is replaced stays
 * beside it. The store is unpacked into core.before-STAMP, judged there by a child that is nobody
 * of importance, and then changes names with core in one step: so it is the old one that ends up
 * under that name. A file `unfinished` marks one that never came so far; the next restore removes
 * it.
 */

#define MARK   "unfinished"
#define NOBODY 65534

struct run {
	struct ctl *c;
	struct state_dir s;
	int fd;
	struct tar_index *index;
	char stamp[48], staged[64];
	int dir; /* the staged one */
	uid_t uid;
};

/* ---- the file ---- */

static int read_text(const struct run *r, const struct tar_entry *t, struct buf *ret)
{
	cleanup_free char *p = NULL;

	if (t->size > BACKUP_TEXT_MAX || !(p = malloc(t->size + 1)) ||
	    pread(r->fd, p, t->size, (off_t)t->at) != (ssize_t)t->size)
		return -EBADMSG;
	buf_put(ret, p, t->size);
	return buf_status(ret);
}

static int check_one(const struct run *r, const struct tar_entry *t, const json_t *files)
{
	const json_t *o = json_object_get(files, t->name);
	const char *said = json_string_value(json_object_get(o, "sha256"));
	uint8_t digest[DIGEST_LEN];
	char hex[DIGEST_HEX_LEN + 1];

	if (!said || backup_digest(r->fd, t->at, t->size, digest) < 0)
		return -EBADMSG;
	hex_encode(hex, digest, DIGEST_LEN);
	return strcmp(hex, said) == 0 ? 0 : -EBADMSG;
}

/* Every file is there as the manifest has it, and no other. */
static int check_file(struct run *r, const char *path)
{
	const struct tar_entry *m;
	json_auto_t *o = NULL;
	struct err e = ERR_INIT;
	cleanup_buf struct buf b;
	json_t *files;

	buf_init(&b, BACKUP_TEXT_MAX);
	if ((r->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", path);
	if (tar_read(r->fd, r->index, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", path, err_text(&e));
	m = tar_find(r->index, BACKUP_MANIFEST);
	if (!m || m != &r->index->entry[r->index->n - 1] || read_text(r, m, &b) < 0 ||
	    msg_json_parse(b.data, b.len, &o, NULL) < 0)
		return ctl_fail(EXIT_FAILED, "%s: not a backup: it has no manifest", path);
	if (json_integer_value(json_object_get(o, "format")) != BACKUP_FORMAT)
		return ctl_fail(EXIT_FAILED, "%s: made by another version of Postern", path);
	files = json_object_get(o, "files");
	if (json_object_size(files) != r->index->n - 1 || !tar_find(r->index, BACKUP_STORE))
		return ctl_fail(EXIT_FAILED, "%s: files are missing in it", path);
	for (size_t i = 0; i + 1 < r->index->n; i++)
		if (check_one(r, &r->index->entry[i], files) < 0)
			return ctl_fail(EXIT_FAILED,
			    "%s: %s in it is not what was backed up: nothing was changed", path,
			    r->index->entry[i].name);
	return EXIT_OK;
}

/* ---- the staged store ---- */

static void remove_dir(int at, const char *name)
{
	int dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *entry;

	if (!d) {
		util_close(&dir);
		return;
	}
	/* the mark last: what is half removed is known as such */
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, MARK) != 0)
			(void)unlinkat(dir, entry->d_name, 0);
	(void)unlinkat(dir, MARK, 0);
	(void)closedir(d);
	(void)unlinkat(at, name, AT_REMOVEDIR);
}

/* One that a restore made: in what was once `core` the core could have put another. */
static bool marked(int state, const char *path)
{
	struct stat st;

	return fstatat(state, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid() && st.st_nlink == 1;
}

/* Of restores that were interrupted before anything was replaced. */
static void remove_unfinished(int state)
{
	int copy = openat(state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	char path[320];

	while (d && (entry = readdir(d))) {
		if (strncmp(entry->d_name, "core.before-", 12) != 0)
			continue;
		(void)snprintf(path, sizeof path, "%s/" MARK, entry->d_name);
		if (marked(state, path))
			remove_dir(state, entry->d_name);
	}
	if (d)
		(void)closedir(d);
	else
		util_close(&copy);
}

static int unpack(struct run *r)
{
	const struct tar_entry *t = tar_find(r->index, BACKUP_STORE);
	cleanup_close int out = -1, mark = -1;
	int rc;

	(void)snprintf(r->staged, sizeof r->staged, "core.before-%s", r->stamp);
	if (mkdirat(r->s.fd, r->staged, 0700) < 0 ||
	    (r->dir = openat(r->s.fd, r->staged, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_FAILED, "%s/%s: %m", r->s.path, r->staged);
	mark = openat(r->dir, MARK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	out = openat(r->dir, STORE_DATA_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (mark < 0 || out < 0)
		return ctl_fail(EXIT_FAILED, "%s/%s: %m", r->s.path, r->staged);
	if ((rc = copy_bytes(r->fd, (off_t)t->at, out, (off_t)t->size)) < 0)
		return ctl_fail(EXIT_FAILED, "the store cannot be unpacked: %s", strerror(-rc));
	if (fchown(out, r->uid, r->uid) < 0 || fchown(r->dir, r->uid, r->uid) < 0 ||
	    fsync(out) < 0 || fsync(r->dir) < 0 || fsync(r->s.fd) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", r->staged);
	return EXIT_OK;
}

/* ---- its judgement ---- */

struct judge {
	struct run *run;
	struct audit_keys keys;
	struct store *store;
	unsigned logs;
	int code;
};

static int judge_log(const struct log_info *l, void *arg)
{
	struct judge *j = arg;
	struct log_ranges to = {NULL, 0};
	cleanup_ranges struct ranges *v = NULL;
	struct ranges_result result;
	struct ranges_keys keys;
	struct err e = ERR_INIT;

	if (ranges_keys(j->keys.key, j->keys.n, l->name, &keys, &e) < 0 ||
	    ranges_new(l->name, &keys, NULL, 0, &v, &e) < 0) {
		j->code = ctl_fail(EXIT_FAILED, "log %s: %s", l->name, err_text(&e));
		return 1;
	}
	to.ranges = v;
	if (log_feed_store(j->store, l->name, &log_ranges_sink, &to, &e) < 0) {
		j->code = ctl_fail(EXIT_FAILED, "log %s: %s", l->name, err_text(&e));
		return 1;
	}
	ranges_end(v, to.head, true);
	ranges_result(v, &result);
	j->logs++;
	if (result.verdict <= VERDICT_RESTORED)
		return 0;
	j->code = ctl_fail(EXIT_BROKEN, "log %s in the backup is %s%s%s: nothing was changed",
	    l->name, verdict_word(result.verdict), result.nfindings ? ": " : "",
	    result.nfindings ? result.findings[result.nfindings - 1].text : "");
	return 1;
}

/* A walk that is interrupted by nothing but a log that is wrong: names first, then each. */
struct names {
	struct log_info log[LOGS_MAX];
	size_t n;
};

static int on_name(const struct log_info *l, void *arg)
{
	struct names *n = arg;

	if (n->n < LOGS_MAX)
		n->log[n->n++] = *l;
	return 0;
}

static int judge_store(void *arg)
{
	const struct store_config config = {.read_only = true};
	struct judge *j = arg;
	struct names *n = calloc(1, sizeof *n);
	struct err e = ERR_INIT;
	int r = n ? audit_become_owner(j->run->dir, &e) : -ENOMEM;

	if (r == 0 && (r = store_open(j->run->dir, &config, &j->store, &e)) == 0 &&
	    (r = logs_list(j->store, on_name, n)) < 0)
		(void)err_set(&e, r, "the list of logs cannot be read");
	if (r < 0) {
		free(n);
		return ctl_fail(EXIT_BROKEN, "the store in the backup: %s", err_text(&e));
	}
	for (size_t i = 0; j->code == EXIT_OK && i < n->n; i++)
		(void)judge_log(&n->log[i], j);
	store_close(j->store);
	free(n);
	return j->code;
}

/* --key, --keys-trusted and log.keys as for audit verify; else what the backup itself says. */
static int load_keys(struct run *r, struct audit_keys *ret)
{
	static char dup[BACKUP_TEXT_MAX + 1];
	const struct tar_entry *t = tar_find(r->index, "etc/log.keys");
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;
	char *save = NULL;

	buf_init(&b, BACKUP_TEXT_MAX);
	*ret = (struct audit_keys){0};
	if (!t)
		t = tar_find(r->index, BACKUP_KEYS);
	if (!t)
		return EXIT_OK;
	if (read_text(r, t, &b) < 0)
		return ctl_fail(EXIT_FAILED, "%s cannot be read", t->name);
	memcpy(dup, b.data, b.len);
	dup[b.len] = '\0';
	for (char *line = strtok_r(dup, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *word = strrchr(line, ' ');

		word = word ? word + 1 : line;
		if (*line == '#' || !strchr(word, '+') || ret->n == AUDIT_KEYS_MAX)
			continue;
		if (note_key_parse(word, strlen(word), &ret->key[ret->n], &e) < 0)
			return ctl_fail(EXIT_FAILED, "%s: %s", t->name, err_text(&e));
		ret->n++;
	}
	return EXIT_OK;
}

/* ---- putting it there ---- */

static int swap(struct run *r)
{
	struct stat st;
	bool there = fstatat(r->s.fd, "core", &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (there && fchmod(r->dir, st.st_mode & 07777) < 0)
		return ctl_fail(EXIT_FAILED, "core: %m");
	if (renameat2(r->s.fd, r->staged, r->s.fd, "core",
	        there ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0 ||
	    fsync(r->s.fd) < 0)
		return ctl_fail(EXIT_FAILED, "cannot replace %s/core: %m", r->s.path);
	/* the lock file of the judge is of no use to the core */
	(void)unlinkat(r->dir, "lock.mdb", 0);
	(void)unlinkat(r->dir, MARK, 0);
	(void)fsync(r->dir);
	if (there)
		(void)printf("what was there is in %s/%s\n", r->s.path, r->staged);
	return EXIT_OK;
}

/* Only where there is none: an operator's configuration is not replaced behind his back. */
static int put_config(struct run *r)
{
	char path[PATH_MAX], name[TAR_NAME_MAX + 1];
	cleanup_close int etc = -1;
	int rc = EXIT_OK;

	ctl_path(r->c, "etc", "/etc/postern", path);
	if ((etc = fd_open_dir(AT_FDCWD, path, 0755)) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", path, strerror(-etc));
	if (faccessat(etc, "postern.yaml", F_OK, 0) == 0) {
		(void)printf("the configuration in %s stays as it is; the backup's is in the file "
		             "(tar)\n",
		    path);
		return EXIT_OK;
	}
	for (size_t i = 0; rc == EXIT_OK && i < r->index->n; i++) {
		const struct tar_entry *t = &r->index->entry[i];
		cleanup_close int dir = -1;
		cleanup_buf struct buf b;
		struct err e = ERR_INIT;
		char *slash;

		buf_init(&b, BACKUP_TEXT_MAX);
		if (strncmp(t->name, "etc/", 4) != 0)
			continue;
		(void)str_copy(name, sizeof name, t->name + 4);
		if ((slash = strchr(name, '/')))
			*slash = '\0';
		if (slash && (strchr(slash + 1, '/') || (dir = fd_open_dir(etc, name, 0755)) < 0))
			rc = ctl_fail(EXIT_FAILED, "%s cannot be put into %s", t->name, path);
		else if (read_text(r, t, &b) < 0 ||
		         fd_write_file(slash ? dir : etc, slash ? slash + 1 : name, b.data, b.len,
		             0644, &e) < 0)
			rc = ctl_fail(EXIT_FAILED, "%s: %s", t->name, err_text(&e));
	}
	return rc;
}

static int restore(struct run *r)
{
	const char *keys = ctl_opt(r->c, "keys"), *pass = ctl_opt(r->c, "passphrase-file");
	cleanup_secret struct secret *passphrase = NULL;
	struct judge *j = calloc(1, sizeof *j);
	unsigned nkeys = 0;
	struct stat st;
	int code;

	if (!j)
		return ctl_fail(EXIT_FAILED, "no memory");
	j->run = r;
	if (!ctl_opt(r->c, "force") &&
	    fstatat(r->s.fd, "core/" STORE_DATA_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		free(j);
		return ctl_fail(EXIT_FAILED,
		    "there is a store in %s already: --force puts it aside", r->s.path);
	}
	remove_unfinished(r->s.fd);
	r->uid = geteuid() == 0 ? state_dir_owner(&r->s, "core", NOBODY) : geteuid();
	if (r->uid == 0 && geteuid() == 0)
		r->uid = NOBODY;
	if ((!keys || ((code = backup_passphrase(pass, &passphrase)) == EXIT_OK &&
	                  (code = backup_keys_restore(&r->s, keys, passphrase, NULL, &nkeys)) ==
	                      EXIT_OK)) &&
	    (code = check_file(r, r->c->word[0])) == EXIT_OK &&
	    (code = load_keys(r, &j->keys)) == EXIT_OK && (code = unpack(r)) == EXIT_OK)
		code = audit_in_child(judge_store, j);
	free(j);
	if (code != EXIT_OK) {
		if (r->dir >= 0)
			remove_dir(r->s.fd, r->staged);
		return code;
	}
	if (keys &&
	    (code = backup_keys_restore(&r->s, keys, passphrase, r->stamp, &nkeys)) != EXIT_OK)
		return code;
	if ((code = swap(r)) != EXIT_OK || (code = put_config(r)) != EXIT_OK)
		return code;
	(void)printf("restored%s: when what was sealed later is missing, the next start says so, "
	             "and postern audit ack accepts it\n",
	    keys ? ", with its keys" : "");
	return EXIT_OK;
}

int ctl_restore(struct ctl *c)
{
	struct run r = {.c = c, .s = STATE_DIR_INIT, .fd = -1, .dir = -1};
	char second[24];
	struct timespec now;
	struct tm tm;
	int code;

	if (!ctl_opt(c, "keys") != !ctl_opt(c, "passphrase-file"))
		return ctl_fail(EXIT_USAGE, "--keys and --passphrase-file go together");
	if (clock_gettime(CLOCK_REALTIME, &now) < 0 || !gmtime_r(&now.tv_sec, &tm) ||
	    strftime(second, sizeof second, "%Y%m%dT%H%M%S", &tm) == 0)
		return ctl_fail(EXIT_FAILED, "what time is it?");
	(void)snprintf(r.stamp, sizeof r.stamp, "%s.%06ldZ", second, now.tv_nsec / 1000);
	if (!(r.index = calloc(1, sizeof *r.index)))
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((code = state_dir_open(c, 1, &r.s)) == EXIT_OK)
		code = restore(&r);
	state_dir_done(&r.s);
	util_close(&r.fd);
	util_close(&r.dir);
	free(r.index);
	return code;
}
