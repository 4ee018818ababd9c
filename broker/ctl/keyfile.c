#include "broker/ctl/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "creds/key.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

static int type_of(const char *name, enum key_type *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum key_type type;
	} types[] = {{"ed25519", KEY_ED25519}, {"ecdsa", KEY_ECDSA_256}, {"rsa", KEY_RSA}};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strcmp(types[i].name, name) == 0) {
			*ret = types[i].type;
			return 0;
		}
	return err_set(e, -EINVAL, "a key's type is ed25519, ecdsa or rsa");
}

/* Opens the directory of path; *ret_name points at the last part. */
static int parent(const char *path, const char **ret_name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int fd;

	if (!slash)
		(void)snprintf(dir, sizeof dir, ".");
	else if (snprintf(dir, sizeof dir, "%.*s", (int)(slash - path + 1), path) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	*ret_name = slash ? slash + 1 : path;
	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "cannot open the directory of %s: %m", path);
	return fd;
}

/* NAME.pub for a key. */
static int save_public(
    const struct key_private *k, const char *comment, int dir, const char *name, struct err *e)
{
	cleanup_buf struct buf line;
	char pub[NAME_MAX + 1];
	int r;

	buf_init(&line, KEY_BLOB_MAX * 2 + KEY_COMMENT_MAX);
	key_format_line(key_private_public(k), comment, &line);
	if ((r = buf_status(&line)) < 0)
		return err_set(e, r, "no memory");
	if (snprintf(pub, sizeof pub, "%s.pub", name) >= (int)sizeof pub)
		return err_set(e, -ENAMETOOLONG, "the name is too long");
	return fd_write_file(dir, pub, line.data, line.len, 0644, e);
}

/* The key is there. Whoever made it may have been ended before its public half was written. */
static int complete(const char *path, int dir, const char *name, const char *comment, struct err *e)
{
	cleanup_key_private struct key_private *k = NULL;
	char pub[PATH_MAX];
	int r;

	if (snprintf(pub, sizeof pub, "%s.pub", path) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	if (access(pub, F_OK) == 0)
		return 0;
	if ((r = key_private_load(dir, name, &k, e)) < 0)
		return r;
	return save_public(k, comment, dir, name, e);
}

int keyfile_make(const char *path, const char *type, const char *comment, bool keep, struct err *e)
{
	cleanup_key_private struct key_private *k = NULL;
	cleanup_close int dir = -1;
	enum key_type t = KEY_ED25519;
	struct stat st;
	const char *name = NULL;
	int r;

	if ((r = type_of(type, &t, e)) < 0 || (r = dir = parent(path, &name, e)) < 0)
		return r;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return keep ? complete(path, dir, name, comment, e)
		            : err_set(e, -EEXIST, "%s is there already", path);
	if ((r = key_private_generate(t, 0, &k, e)) < 0 ||
	    (r = key_private_save(k, comment, dir, name, e)) < 0)
		return r;
	return save_public(k, comment, dir, name, e);
}

int keyfile_public(const char *path, struct buf *line, struct err *e)
{
	char pub[PATH_MAX];
	int r;

	if (snprintf(pub, sizeof pub, "%s.pub", path) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	if ((r = fd_read_file(AT_FDCWD, pub, KEY_BLOB_MAX * 2, line, e)) < 0)
		return r;
	while (line->len > 0 &&
	       (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r'))
		line->len--;
	return 0;
}
