#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "broker/export/sink_internal.h"
#include "lib/util.h"

/* The CA, certificate, key and headers of a sink: read once, compared at a reload. */

static int read_file(
    const struct exporter *x, const char *path, bool secret, struct buf *b, struct err *e)
{
	cleanup_close int fd = -1;
	uint8_t bytes[4096];
	ssize_t n;

	if (*path == '\0')
		return 0;
	fd = export_config_open(x->config_dir, path, secret, e);
	if (fd < 0)
		return fd;
	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		buf_put(b, bytes, (size_t)n);
	explicit_bzero(bytes, sizeof bytes);
	if (n < 0)
		return err_set(e, -errno, "%s: %m", path);
	return buf_status(b) < 0 ? err_set(e, -EFBIG, "%s: is too long", path) : 0;
}

int sink_files_read(
    struct sink *s, const struct exporter *x, const struct export_sink *c, struct err *e)
{
	int r;

	buf_init(&s->ca, 4 * SINK_FILE_MAX); /* bundles are long */
	buf_init(&s->cert, SINK_FILE_MAX);
	buf_init(&s->key, SINK_FILE_MAX);
	buf_init(&s->headers, SINK_FILE_MAX);
	if ((r = read_file(x, c->ca, false, &s->ca, e)) < 0 ||
	    (r = read_file(x, c->cert, false, &s->cert, e)) < 0 ||
	    (r = read_file(x, c->key, true, &s->key, e)) < 0 ||
	    (r = read_file(x, c->headers, true, &s->headers, e)) < 0)
		return err_wrap(e, r, "export %s", c->name);
	return 0;
}

void sink_files_drop(struct sink *s)
{
	buf_done(&s->ca);
	buf_done(&s->cert);
	buf_done(&s->key);
	buf_done(&s->headers);
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

bool sink_same(const struct sink *s, const struct export_sink *config)
{
	struct sink now = {.x = s->x};
	bool same;

	if (memcmp(&s->config, config, sizeof *config) != 0)
		return false;
	same = sink_files_read(&now, s->x, config, NULL) == 0 && same_bytes(&s->ca, &now.ca) &&
	       same_bytes(&s->cert, &now.cert) && same_bytes(&s->key, &now.key) &&
	       same_bytes(&s->headers, &now.headers);
	sink_files_drop(&now);
	return same;
}

struct http_tls sink_tls(const struct sink *s)
{
	return (struct http_tls){
	    s->ca.data, s->cert.data, s->key.data, s->ca.len, s->cert.len, s->key.len};
}
