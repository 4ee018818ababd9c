/*
 * postern-cred: asks the session's own credential service for what this session may use.
 *
 * One JSON line to a TCP listener of the session's network namespace, one back. Lives inside the
 * sandbox: static, libc alone, and without any right of its own, so nobody is protected by what it
 * checks; it is careful only with the answer that it prints.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "creds/tool/json.h"

#define EXIT_REFUSED 1
#define EXIT_USAGE   2
#define EXIT_SERVICE 3

#define SERVICE     "127.0.0.1:4712"
#define TIMEOUT_S   30
#define ANSWER_MAX  (64 * 1024)
#define ARG_MAX_LEN 256

static const char usage_text[] =
    "usage: postern-cred [--json] list\n"
    "       postern-cred [--json] get KIND AUDIENCE\n"
    "       postern-cred [--json] release LEASE\n"
    "\n"
    "  list     what this session may ask for\n"
    "  get      print one credential, and nothing else, on standard output\n"
    "           (KIND is jwt; the lease's id goes to standard error)\n"
    "  release  give a lease back before its time\n"
    "  --json   print the service's answer as it is\n"
    "\n"
    "POSTERN_CRED=HOST:PORT names another service than " SERVICE ".\n"
    "Exit status: 0 done, 1 refused (the reason is on standard error), 2 usage,\n"
    "3 no service or no sensible answer.\n";

static int fail(int status, const char *what)
{
	(void)fprintf(stderr, "postern-cred: %s\n", what);
	return status;
}

static int service_fd(void)
{
	const char *where = getenv("POSTERN_CRED");
	const struct timeval tv = {.tv_sec = TIMEOUT_S};
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char host[256], *colon, *name = host;
	int fd = -1;

	if (!where || *where == '\0')
		where = SERVICE;
	if (strlen(where) >= sizeof host || !strrchr(where, ':')) {
		errno = EINVAL;
		return -1;
	}
	(void)snprintf(host, sizeof host, "%s", where);
	colon = strrchr(host, ':');
	*colon = '\0';
	if (*name == '[' && colon > host + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	if (getaddrinfo(name, colon + 1, &hints, &found) != 0) {
		errno = EHOSTUNREACH;
		return -1;
	}
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
		if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			int saved = errno;

			(void)close(fd);
			fd = -1;
			errno = saved;
		}
	}
	freeaddrinfo(found);
	return fd;
}

/* Sends the line and reads one line back, NUL in place of its newline. The answer's
 * length, or -1. */
static ssize_t ask(const char *line, char *answer, size_t size)
{
	size_t len = strlen(line), n = 0;
	int fd = service_fd();

	if (fd < 0)
		return -1;
	for (size_t at = 0; at < len;) {
		ssize_t w = send(fd, line + at, len - at, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			goto broken;
		at += (size_t)w;
	}
	while (n < size) {
		ssize_t r = recv(fd, answer + n, size - n, 0);
		char *end;

		if (r < 0 && errno == EINTR)
			continue;
		if (r == 0)
			errno = ECONNRESET;
		if (r <= 0)
			goto broken;
		end = memchr(answer + n, '\n', (size_t)r);
		n += (size_t)r;
		if (end) {
			(void)close(fd);
			*end = '\0';
			return end - answer;
		}
	}
	errno = EMSGSIZE;
broken:
	(void)close(fd);
	return -1;
}

static int print_list(const struct json *answer)
{
	struct json list, item, kind, audience;
	char a[64], b[1024];
	int r;

	if (json_get(answer, "credentials", &list) < 0 || list.type != JSON_ARRAY)
		return -1;
	(void)printf("%-8s %s\n", "KIND", "AUDIENCE");
	for (r = json_first(&list, &item); r == 1; r = json_next(&list, &item)) {
		if (json_get(&item, "kind", &kind) < 0 ||
		    json_get(&item, "audience", &audience) < 0 ||
		    json_text(&kind, a, sizeof a) < 0 || json_text(&audience, b, sizeof b) < 0)
			return -1;
		(void)printf("%-8s %s\n", a, b);
	}
	return r;
}

static int print_value(const struct json *answer)
{
	static char value[ANSWER_MAX];
	struct json v, lease;
	char id[64];

	if (json_get(answer, "value", &v) < 0 || json_text(&v, value, sizeof value) < 0 ||
	    json_get(answer, "lease", &lease) < 0 || json_text(&lease, id, sizeof id) < 0)
		return -1;
	(void)printf("%s\n", value);
	(void)fprintf(stderr, "postern-cred: lease %s\n", id);
	return 0;
}

static int show(const char *op, const char *text, size_t len, bool raw)
{
	struct json answer, ok, error;
	char reason[1024];
	int r = 0;

	if (json_open(text, len, &answer) < 0 || answer.type != JSON_OBJECT ||
	    json_get(&answer, "ok", &ok) < 0)
		return fail(EXIT_SERVICE, "the service's answer makes no sense");
	if (raw)
		(void)printf("%s\n", text);
	if (ok.type != JSON_TRUE) {
		if (json_get(&answer, "error", &error) < 0 ||
		    json_text(&error, reason, sizeof reason) < 0)
			return fail(EXIT_SERVICE, "the service's answer makes no sense");
		(void)fprintf(stderr, "postern-cred: refused: %s\n", reason);
		return EXIT_REFUSED;
	}
	if (!raw && strcmp(op, "list") == 0)
		r = print_list(&answer);
	else if (!raw && strcmp(op, "get") == 0)
		r = print_value(&answer);
	if (r < 0)
		return fail(EXIT_SERVICE, "the service's answer makes no sense");
	if (fflush(stdout) != 0)
		return fail(EXIT_SERVICE, "cannot write to standard output");
	return 0;
}

static int put_field(char *line, size_t size, const char *name, const char *value)
{
	size_t n = strlen(line);

	if (strlen(value) == 0 || strlen(value) > ARG_MAX_LEN)
		return -1;
	n += (size_t)snprintf(line + n, size - n, ",\"%s\":", name);
	return json_quote(line + n, size - n, value);
}

int main(int argc, char **argv)
{
	static char answer[ANSWER_MAX];
	char line[4096], why[256];
	const char *args[3] = {NULL};
	int n = 0, r = 0;
	bool raw = false;
	ssize_t len;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			raw = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(usage_text, stdout);
			return 0;
		} else if (argv[i][0] == '-' || n == 3) {
			n = -1;
			break;
		} else {
			args[n++] = argv[i];
		}
	}
	if (n < 1 ||
	    !((strcmp(args[0], "list") == 0 && n == 1) || (strcmp(args[0], "get") == 0 && n == 3) ||
	        (strcmp(args[0], "release") == 0 && n == 2))) {
		(void)fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	(void)snprintf(line, sizeof line, "{\"op\":\"%s\"", args[0]);
	if (n == 3)
		r = put_field(line, sizeof line, "kind", args[1]) |
		    put_field(line, sizeof line, "audience", args[2]);
	else if (n == 2)
		r = put_field(line, sizeof line, "lease", args[1]);
	if (r < 0)
		return fail(EXIT_USAGE, "an argument is empty, too long, or no UTF-8");
	(void)snprintf(line + strlen(line), sizeof line - strlen(line), "}\n");

	(void)signal(SIGPIPE, SIG_IGN);
	len = ask(line, answer, sizeof answer);
	if (len < 0) {
		(void)snprintf(why, sizeof why, "no credential service: %s",
		    errno == EAGAIN ? "no answer in time" : strerror(errno));
		return fail(EXIT_SERVICE, why);
	}
	return show(args[0], answer, (size_t)len, raw);
}
