#include "tests/support/config_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/config.h"
#include "creds/ca.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"

void config_dir_put(const struct config_dir *f, const char *path, const char *text)
{
	assert_int_equal(fd_write_file(f->fd, path, text, strlen(text), 0600, NULL), 0);
}

static void make_key(char line[256], struct key_private **ret)
{
	struct buf b;

	assert_int_equal(key_private_generate(KEY_ED25519, 0, ret, NULL), 0);
	buf_init(&b, 256);
	key_format_line(key_private_public(*ret), "ca", &b);
	(void)snprintf(line, 256, "%.*s", (int)b.len - 1, (const char *)b.data);
	buf_done(&b);
}

int config_dir_setup(void **state)
{
	struct config_dir *f = calloc(1, sizeof *f);
	struct key_private *k[2];
	const char *principal = "agent";
	struct buf blob, line;

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/config-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)close(fd_open_dir(f->fd, "tenants", 0700));
	(void)close(fd_open_dir(f->fd, "templates", 0700));
	make_key(f->ca[0], &k[0]);
	make_key(f->ca[1], &k[1]);
	buf_init(&blob, 4096);
	buf_init(&line, 8192);
	{
		struct ca_request q = {.subject = key_private_public(k[1]),
		    .key_id = "x",
		    .principals = &principal,
		    .nprincipals = 1,
		    .valid_before = UINT64_MAX};

		assert_int_equal(ca_issue(k[0], &q, &blob, NULL), 0);
		assert_int_equal(ca_format_line(blob.data, blob.len, "x", &line), 0);
		(void)snprintf(
		    f->cert, sizeof f->cert, "%.*s", (int)line.len - 1, (const char *)line.data);
	}
	buf_done(&blob);
	buf_done(&line);
	key_private_free(k[0]);
	key_private_free(k[1]);
	*state = f;
	return 0;
}

int config_dir_teardown(void **state)
{
	static const char *const dirs[] = {"tenants", "templates", "."};
	struct config_dir *f = *state;

	for (size_t i = 0; i < 3; i++) {
		int fd = openat(f->fd, dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct dirent *e;
		DIR *d = fdopendir(fd);

		while ((e = readdir(d)))
			(void)unlinkat(fd, e->d_name, 0);
		(void)closedir(d);
	}
	(void)unlinkat(f->fd, "tenants", AT_REMOVEDIR);
	(void)unlinkat(f->fd, "templates", AT_REMOVEDIR);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* config_load() refuses, with all of these words. */
void config_dir_refused(const struct config_dir *f, const char *a, const char *b)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;
	int r = config_load(f->fd, &c, &e);

	if (r == 0)
		fail_msg("accepted, instead of: %s ... %s", a, b);
	assert_null(c);
	if (!strstr(err_text(&e), a) || !strstr(err_text(&e), b))
		fail_msg("\"%s\" and \"%s\" were expected in: %s", a, b, err_text(&e));
}

struct config *config_dir_accepted(const struct config_dir *f)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;

	if (config_load(f->fd, &c, &e) < 0)
		fail_msg("%s", err_text(&e));
	return c;
}

/* A good tenant with this CA and these lines more. */
void config_dir_tenant(
    const struct config_dir *f, const char *name, const char *ca, const char *more)
{
	char path[64], text[8192];

	(void)snprintf(path, sizeof path, "tenants/%s.yaml", name);
	(void)snprintf(
	    text, sizeof text, "ca: [\"%s\"]\nroles:\n  agent: {allow: [exec]}\n%s", ca, more);
	config_dir_put(f, path, text);
}
