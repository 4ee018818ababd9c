#include "broker/core/export_config_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/err.h"

int export_get_text(const struct export_at *a, const char *key, char *dst, size_t size, bool needed)
{
	const char *s = NULL;
	int r = yaml_get_str(a->d, a->o, key, &s, a->e);

	if (r < 0)
		return r;
	if (r == 1)
		return needed ? yaml_fail(a->d, a->list, NULL, a->index, a->e, -EINVAL,
		                    "%s: has no %s", a->what, key)
		              : 0;
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			s = "";
	if (*s == '\0' || !str_copy(dst, size, s))
		return WRONG(
		    a, key, "%s.%s: 1 to %zu letters, digits and signs", a->what, key, size - 1);
	return 0;
}

/* ---- addresses ---- */

static bool port_good(const char *s)
{
	uint64_t port;

	return str_to_u64(s, 1, 65535, &port) == 0;
}

/* "HOST", "1.2.3.4", "[::1]"; of len bytes. */
static bool host_good(const char *s, size_t len)
{
	char v6[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (len > 2 && s[0] == '[' && s[len - 1] == ']' && len - 2 < sizeof v6) {
		memcpy(v6, s + 1, len - 2);
		v6[len - 2] = '\0';
		return inet_pton(AF_INET6, v6, &addr) == 1;
	}
	for (size_t i = 0; i < len; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !(s[i] >= '0' && s[i] <= '9') && !strchr("-._", s[i]))
			return false;
	return len > 0 && len <= 253 && s[0] != '-' && s[0] != '.';
}

static bool loopback(const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;

	if (len == strlen("localhost") && strncmp(s, "localhost", len) == 0)
		return true;
	if (len > 2 && s[0] == '[') {
		s++;
		len -= 2;
	}
	if (len >= sizeof text)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

int export_get_to(const struct export_at *a, char *dst, size_t size)
{
	const char *colon;
	int r = export_get_text(a, "to", dst, size, true);

	if (r < 0)
		return r;
	colon = strrchr(dst, ':');
	if (!colon || !port_good(colon + 1) || !host_good(dst, (size_t)(colon - dst)))
		return WRONG(a, "to", "%s.to: must be HOST:PORT", a->what);
	return 0;
}

/* http or https, a host, perhaps a port, a path; nobody's name and password, and no fragment. */
int export_get_url(const struct export_at *a, char *dst, size_t size, bool any_http)
{
	const char *host, *end, *port;
	bool https;
	int r = export_get_text(a, "url", dst, size, true);

	if (r < 0)
		return r;
	https = strncmp(dst, "https://", 8) == 0;
	if (!https && strncmp(dst, "http://", 7) != 0)
		return WRONG(a, "url", "%s.url: must begin with https:// or http://", a->what);
	host = dst + (https ? 8 : 7);
	end = host + strcspn(host, "/?#");
	port = host[0] == '[' ? strchr(host, ']') : host;
	port = port ? memchr(port, ':', (size_t)(end - port)) : NULL;
	if (port) {
		char text[8] = "";

		if ((size_t)(end - port) <= sizeof text)
			memcpy(text, port + 1, (size_t)(end - port) - 1);
		if (!port_good(text))
			return WRONG(a, "url", "%s.url: the port is none", a->what);
	}
	if (!host_good(host, (size_t)((port ? port : end) - host)) || strpbrk(end, "#\\\"<>^`{|}"))
		return WRONG(a, "url", "%s.url: must be https://HOST[:PORT]/PATH", a->what);
	if (!https && !any_http && !loopback(host, (size_t)((port ? port : end) - host)))
		return WRONG(a, "url", "%s.url: http goes to loopback addresses only", a->what);
	return 0;
}

/* ---- files ---- */

/* Below the configuration directory, or absolute below /etc, and without a step upwards. */
int export_get_path(const struct export_at *a, const char *key, char *dst, size_t size)
{
	const char *p;
	int r = export_get_text(a, key, dst, size, false);

	if (r < 0 || *dst == '\0')
		return r;
	p = dst[0] == '/' ? dst + 1 : dst;
	if (dst[0] == '/' && strncmp(dst, "/etc/", 5) != 0)
		return WRONG(a, key,
		    "%s.%s: must be below the configuration directory or below /etc", a->what, key);
	while (*p) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n <= 2 && strncmp(p, "..", n) == 0))
			return WRONG(a, key, "%s.%s: not a plain path", a->what, key);
		p += n;
		if (*p == '/' && *++p == '\0')
			return WRONG(a, key, "%s.%s: not the name of a file", a->what, key);
	}
	return 0;
}
