#include "broker/core/tenant_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "broker/core/tenant.h"
#include "creds/cert.h"
#include "creds/key.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define CA_FILE_MAX (64u * 1024)

/* First word of a line: would it be a certificate? key_parse_line() refuses it too,
 * but says less. */
static bool is_cert_line(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && line[n] != ' ' && line[n] != '\t')
		n++;
	return cert_type_known(line, n);
}

static int add_ca(struct tenant *t, const char *line, size_t len, unsigned at, struct err *e)
{
	struct key *k;
	int r;

	if (t->ncas == TENANT_CAS_MAX)
		return err_set(e, -E2BIG, "more than %d CA keys", TENANT_CAS_MAX);
	if (is_cert_line(line, len))
		return err_set(e, -EINVAL, "a certificate cannot be a CA key");
	if ((r = key_parse_line(line, len, &k, e)) < 0)
		return err_wrap(e, r, "CA key");
	for (size_t i = 0; i < t->ncas; i++)
		if (key_equal(t->ca[i], k)) {
			key_free(k);
			return err_set(e, -EINVAL, "the same CA key twice");
		}
	t->ca_line[t->ncas] = at;
	t->ca[t->ncas++] = k;
	return 0;
}

int tenant_parse_cas(const struct yaml_doc *d, struct tenant *t, struct err *e)
{
	struct err why = ERR_INIT;
	json_t *list, *v;
	size_t i;
	int r = yaml_get_list(d, yaml_root(d), "ca", &list, e);

	if (r != 0)
		return r < 0 ? r : 0;
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v))
			return yaml_fail(d, list, NULL, i, e, -EINVAL, "ca: must be strings");
		r = add_ca(t, json_string_value(v), json_string_length(v),
		    yaml_line(d, list, NULL, i), &why);
		if (r < 0)
			return yaml_fail(d, list, NULL, i, e, -EINVAL, "ca: %s", err_text(&why));
	}
	return 0;
}

static int add_ca_lines(struct tenant *t, const char *text, size_t len, unsigned at, struct err *e)
{
	size_t number = 0, found = 0;
	int r;

	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len, skip = end ? n + 1 : n;

		number++;
		if (n > 0 && text[n - 1] == '\r')
			n--;
		if (n > 0 && text[0] != '#') {
			if ((r = add_ca(t, text, n, at, e)) < 0)
				return err_wrap(e, r, "line %zu", number);
			found++;
		}
		text += skip;
		len -= skip;
	}
	return found ? 0 : err_set(e, -EINVAL, "no key in it");
}

static int load_ca_file(struct tenant *t, int dirfd, const char *path, unsigned at, struct err *e)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, CA_FILE_MAX);
	/* what the core can reach once it is confined: the same answer for everybody who checks */
	if (path[0] == '/' && strncmp(path, "/etc/", 5) != 0)
		return err_set(e, -EINVAL,
		    "an absolute path must be below /etc: others are out of the core's reach");
	if (path[0] != '/') {
		cleanup_close int fd = fd_open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK, 0);

		if (fd < 0) {
			errno = -fd;
			return err_set(e, fd, "%m");
		}
	}
	if ((r = fd_read_file(dirfd, path, CA_FILE_MAX, &b, e)) < 0)
		return r;
	return add_ca_lines(t, (const char *)b.data, b.len, at, e);
}

int tenant_parse_ca_files(const struct yaml_doc *d, int dirfd, struct tenant *t, struct err *e)
{
	struct err why = ERR_INIT;
	json_t *list, *v;
	size_t i;
	int r = yaml_get_list(d, yaml_root(d), "ca_files", &list, e);

	if (r != 0)
		return r < 0 ? r : 0;
	json_array_foreach(list, i, v)
	{
		const char *path = json_string_value(v);

		if (!path || strlen(path) != json_string_length(v))
			return yaml_fail(d, list, NULL, i, e, -EINVAL, "ca_files: must be paths");
		if (load_ca_file(t, dirfd, path, yaml_line(d, list, NULL, i), &why) < 0)
			return yaml_fail(
			    d, list, NULL, i, e, -EINVAL, "ca_files: %s: %s", path, err_text(&why));
	}
	return 0;
}
