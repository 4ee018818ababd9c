#include "broker/supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/host_config.h"
#include "lib/err.h"
#include "lib/yaml.h"

static int take(char *dst, size_t size, const char *name, const char *value, struct err *e)
{
	if (!*value)
		return err_set(e, -EINVAL, "%s= is empty", name);
	if (!str_copy(dst, size, value))
		return err_set(e, -ENAMETOOLONG, "%s= is longer than %zu bytes", name, size - 1);
	return 0;
}

/* The value of "NAME=VALUE", or NULL if arg has another name. */
static const char *value_of(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static int one_arg(struct settings *s, const char *arg, struct err *e)
{
	const struct {
		const char *name;
		char *dst;
		size_t size;
	} text[] = {
	    {"state", s->state, sizeof s->state},
	    {"config", s->config, sizeof s->config},
	    {"run", s->run, sizeof s->run},
	    {"listen", s->listen, sizeof s->listen},
	};
	const char *v;
	uint64_t n;
	int r;

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		if ((v = value_of(arg, text[i].name)))
			return take(text[i].dst, text[i].size, text[i].name, v, e);
	if (strcmp(arg, "foreground") == 0) {
		s->foreground = true;
		return 0;
	}
	if ((v = value_of(arg, "instance"))) {
		if ((r = name_check("instance", v, strlen(v), e)) < 0)
			return r;
		return take(s->instance, sizeof s->instance, "instance", v, e);
	}
	if ((v = value_of(arg, "lock"))) {
		if (str_to_u64(v, 3, INT_MAX, &n) < 0)
			return err_set(e, -EINVAL, "lock= is not a descriptor");
		s->lock_fd = (int)n;
		return 0;
	}
	return err_set(e, -EINVAL,
	    "unknown argument; known are state=DIR config=DIR run=DIR listen=HOST:PORT "
	    "instance=NAME lock=FD foreground");
}

/* DIR/NAME for a path that was not given. */
static int below(char *dst, const char *dir, const char *name, struct err *e)
{
	if (*dst)
		return 0;
	if (snprintf(dst, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the state directory's path is too long");
	return 0;
}

int settings_args(struct settings *s, int argc, char **argv, struct err *e)
{
	int r;

	memset(s, 0, sizeof *s);
	s->lock_fd = -1;
	(void)str_copy(s->instance, sizeof s->instance, "main");
	s->spare_workers = SPARE_WORKERS_DEFAULT;
	for (int i = 1; i < argc; i++)
		if ((r = one_arg(s, argv[i], e)) < 0)
			return r;
	if (!*s->state) {
		(void)str_copy(s->state, sizeof s->state, "/var/lib/postern");
		if (!*s->config)
			(void)str_copy(s->config, sizeof s->config, "/etc/postern");
		if (!*s->run)
			(void)str_copy(s->run, sizeof s->run, "/run/postern");
		return 0;
	}
	if ((r = below(s->config, s->state, "etc", e)) < 0)
		return r;
	return below(s->run, s->state, "run", e);
}

/* gateway.spare_workers; the gateway checks the rest of that mapping. */
static int load_spare(int config_fd, int64_t *ret, struct err *e)
{
	cleanup_yaml struct yaml_doc *d = NULL;
	json_t *gateway = NULL;
	int r = yaml_load(config_fd, HOST_FILE, &d, e);

	*ret = SPARE_WORKERS_DEFAULT;
	if (r == -ENOENT)
		return 0;
	if (r < 0 || !json_is_object(yaml_root(d)))
		return r < 0 ? r : 0;
	if ((r = yaml_get_map(d, yaml_root(d), "gateway", &gateway, e)) != 0)
		return r < 0 ? r : 0;
	r = yaml_get_int(d, gateway, "spare_workers", 1, SPARE_WORKERS_MAX, ret, e);
	return r < 0 ? r : 0;
}

int settings_load(struct settings *s, int config_fd, bool again, struct err *e)
{
	struct host_config host;
	int64_t spare;
	int r;

	if ((r = host_config_load(config_fd, &host, e)) < 0 ||
	    (r = load_spare(config_fd, &spare, e)) < 0)
		return r;
	s->spare_workers = spare;
	if (again)
		return 0;
	s->ids_base = host.ids_base;
	s->ids_count = host.ids_count;
	if (!*s->listen && !str_copy(s->listen, sizeof s->listen, host.listen))
		return err_set(e, -ENAMETOOLONG, "listen is too long");
	return 0;
}
