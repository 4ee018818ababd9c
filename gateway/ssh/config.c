#include "gateway/ssh/config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/err.h"
#include "lib/yaml.h"

static const char *const known[] = {"listen", "login_grace", "max_tries", "spare_workers",
    "max_connections", "max_per_source", "keepalive_interval", "keepalive_count", "broker_timeout",
    "rekey_bytes", "algorithms", NULL};

void gateway_config_default(struct gateway_config *c)
{
	*c = (struct gateway_config){
	    .login_grace_s = 30,
	    .max_tries = 6,
	    .spare_workers = 4,
	    .max_connections = 512,
	    .max_per_source = 32,
	    .keepalive_interval_s = 60,
	    .keepalive_count = 3,
	    .broker_timeout_s = 10,
	    .rekey_bytes = UINT64_C(1) << 30,
	    .algorithms = GATEWAY_STRICT,
	};
}

static int seconds(
    const struct yaml_doc *d, json_t *o, const char *key, int64_t max, int64_t *ret, struct err *e)
{
	int64_t v = 0;
	int r = yaml_get_seconds(d, o, key, &v, e);

	if (r < 0)
		return r;
	if (r == 0 && v > max)
		return yaml_fail(
		    d, o, key, 0, e, -EINVAL, "%s is longer than %" PRId64 " s", key, max);
	if (r == 0)
		*ret = v;
	return 0;
}

static int algorithms(
    const struct yaml_doc *d, json_t *o, enum gateway_algorithms *ret, struct err *e)
{
	const char *s = NULL;
	int r = yaml_get_str(d, o, "algorithms", &s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (strcmp(s, "strict") == 0)
		*ret = GATEWAY_STRICT;
	else if (strcmp(s, "compat") == 0)
		*ret = GATEWAY_COMPAT;
	else
		return yaml_fail(
		    d, o, "algorithms", 0, e, -EINVAL, "algorithms is strict or compat");
	return 0;
}

static int numbers(const struct yaml_doc *d, json_t *o, struct gateway_config *c, struct err *e)
{
	const struct {
		const char *key;
		int64_t min, max;
		int64_t *to;
	} rows[] = {
	    {"max_tries", 1, GATEWAY_TRIES_MAX, &c->max_tries},
	    {"spare_workers", 1, 64, &c->spare_workers},
	    {"max_connections", 1, GATEWAY_CONNECTIONS_MAX, &c->max_connections},
	    {"max_per_source", 1, GATEWAY_CONNECTIONS_MAX, &c->max_per_source},
	    {"keepalive_count", 1, 100, &c->keepalive_count},
	};
	int r;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if ((r = yaml_get_int(d, o, rows[i].key, rows[i].min, rows[i].max, rows[i].to, e)) <
		    0)
			return r;
	return 0;
}

static int understand(const struct yaml_doc *d, json_t *o, struct gateway_config *c, struct err *e)
{
	int r;

	if ((r = yaml_check_keys(d, o, known, e)) < 0 || (r = numbers(d, o, c, e)) < 0 ||
	    (r = seconds(d, o, "login_grace", 3600, &c->login_grace_s, e)) < 0 ||
	    (r = seconds(d, o, "keepalive_interval", 86400, &c->keepalive_interval_s, e)) < 0 ||
	    (r = seconds(d, o, "broker_timeout", 60, &c->broker_timeout_s, e)) < 0 ||
	    (r = algorithms(d, o, &c->algorithms, e)) < 0)
		return r;
	if ((r = yaml_get_bytes(d, o, "rekey_bytes", &c->rekey_bytes, e)) < 0)
		return r;
	if (c->rekey_bytes < 1024 * 1024 || c->rekey_bytes > UINT64_C(1) << 36)
		return yaml_fail(
		    d, o, "rekey_bytes", 0, e, -EINVAL, "rekey_bytes is between 1M and 64G");
	return 0;
}

int gateway_config_load(int dirfd, struct gateway_config *c, struct err *e)
{
	cleanup_yaml struct yaml_doc *d = NULL;
	struct gateway_config next;
	json_t *o = NULL;
	struct stat st;
	int r;

	gateway_config_default(&next);
	if (fstatat(dirfd, GATEWAY_CONFIG_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
		*c = next;
		return 0;
	}
	if ((r = yaml_load(dirfd, GATEWAY_CONFIG_FILE, &d, e)) < 0)
		return r;
	if (json_is_object(yaml_root(d))) {
		if ((r = yaml_get_map(d, yaml_root(d), "gateway", &o, e)) < 0)
			return r;
		if (r == 0 && (r = understand(d, o, &next, e)) < 0)
			return r;
	}
	*c = next;
	return 0;
}

void gateway_config_print(const struct gateway_config *c, FILE *f)
{
	(void)fprintf(f,
	    "login_grace: %" PRId64 "s\n"
	    "max_tries: %" PRId64 "\n"
	    "spare_workers: %" PRId64 "\n"
	    "max_connections: %" PRId64 "\n"
	    "max_per_source: %" PRId64 "\n"
	    "keepalive_interval: %" PRId64 "s\n"
	    "keepalive_count: %" PRId64 "\n"
	    "broker_timeout: %" PRId64 "s\n"
	    "rekey_bytes: %" PRIu64 "\n"
	    "algorithms: %s\n",
	    c->login_grace_s, c->max_tries, c->spare_workers, c->max_connections, c->max_per_source,
	    c->keepalive_interval_s, c->keepalive_count, c->broker_timeout_s, c->rekey_bytes,
	    c->algorithms == GATEWAY_STRICT ? "strict" : "compat");
}
