#include "tests/support/supervisor_stub.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/err.h"
#include "lib/msg.h"

static char stub_dir[256];
static volatile sig_atomic_t stub_poked;

static void on_poke(int signo)
{
	stub_poked = signo;
}

static void say(const char *fmt, ...)
{
	char line[512], path[300];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	(void)snprintf(path, sizeof path, "%s/log", stub_dir);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) < 0)
		_exit(99);
	(void)close(fd);
}

static bool told(const char *role, const char *what)
{
	char path[400];

	(void)snprintf(path, sizeof path, "%s/%s.%s", stub_dir, role, what);
	return access(path, F_OK) == 0;
}

static void say_descriptors(const char *role)
{
	char text[256] = "", link[300], path[40];
	DIR *d = opendir("/proc/self/fd");
	ssize_t n;

	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && fd != dirfd(d))
			(void)snprintf(text + strlen(text), sizeof text - strlen(text), " %d", fd);
	(void)closedir(d);
	(void)snprintf(path, sizeof path, "/proc/self/fd/0");
	n = readlink(path, link, sizeof link - 1);
	link[n > 0 ? n : 0] = '\0';
	say("%s fds%s stdin %s", role, text, link);
}

/* The core is poked: USR1 stores a descriptor, USR2 asks for the status;
 * anyone else breaks a rule. */
static void stub_act(const char *role, struct chan *c)
{
	int null = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	if (stub_poked == SIGUSR1 && strcmp(role, "core") == 0)
		(void)chan_send(c, "store.put", 0, json_pack("{s:s}", "name", "conn:1"), &null, 1);
	else if (strcmp(role, "core") == 0)
		(void)chan_send(c, "status.ask", 7, NULL, NULL, 0);
	else if (send(chan_fd(c), "{\"v\":1,\"id\":0,\"type\":\"store.done\",\"body\":{}}", 44, 0) <
	         0)
		_exit(98);
	(void)close(null);
	stub_poked = 0;
}

static void stub_heard(const char *role, struct chan *c, struct msg *m)
{
	json_t *p = msg_is(m, "status.tell") ? msg_obj(m, "processes") : NULL;
	const char *text = msg_str(m, "role");

	if (!text && (m->type->fields[0].kind == MSG_STRING) && m->type->fields[0].name)
		text = msg_str(m, m->type->fields[0].name);
	say("%s %d heard %s %s slot %d status %d signal %d processes %zu fd %s", role,
	    (int)getpid(), m->type->name, text ? text : "-", (int)msg_int(m, "slot", -1),
	    (int)msg_int(m, "status", -1), (int)msg_int(m, "signal", -1), json_array_size(p),
	    m->nfds ? "yes" : "no");
	if (msg_is(m, "worker.spare") && told("listener", "uses")) {
		char path[400];

		(void)snprintf(path, sizeof path, "%s/listener.uses", stub_dir);
		(void)unlink(path);
		(void)chan_send(c, "worker.used", 0,
		    json_pack("{s:I}", "slot", (json_int_t)msg_int(m, "slot", 0)), NULL, 0);
	}
	for (size_t i = 0; i < m->nfds; i++)
		(void)msg_take_fd(m, i); /* kept */
}

static int stub(const char *role, unsigned self, int argc, char **argv)
{
	struct sigaction poke = {.sa_handler = on_poke};
	char text[400] = "";
	struct chan *c;

	for (int i = 1; i < argc; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), " %s", argv[i]);
	say("%s started %d%s", role, (int)getpid(), text);
	say_descriptors(role);
	if (told(role, "refuses")) {
		(void)fprintf(stderr, "stub %s refuses\n", role);
		return 3;
	}
	(void)sigaction(SIGUSR1, &poke, NULL);
	(void)sigaction(SIGUSR2, &poke, NULL);
	if (self == MSG_WORKER) {
		char byte;

		while (recv(3, &byte, 1, 0) < 0 && errno == EAGAIN) {
			struct pollfd p = {3, POLLIN, 0};

			(void)poll(&p, 1, -1);
		}
		return 0;
	}
	c = chan_new(3, self, MSG_SUPERVISOR);
	if (!told(role, "silent"))
		(void)chan_send(c, "ready", 0, NULL, NULL, 0);
	for (;;) {
		struct pollfd p = {chan_fd(c), POLLIN, 0};
		struct msg m = MSG_INIT;
		struct err e = ERR_INIT;
		int r;

		if (poll(&p, 1, 50) < 0 && errno != EINTR)
			return 97;
		if (stub_poked)
			stub_act(role, c);
		while ((r = chan_recv(c, &m, &e)) == 1) {
			bool end = msg_is(&m, "shutdown") && !told(role, "stubborn");

			stub_heard(role, c, &m);
			msg_done(&m);
			if (end) {
				chan_free(c);
				return 0;
			}
		}
		if (r != -EAGAIN) {
			chan_free(c);
			return r == 0 ? 0 : 96;
		}
	}
}

int stub_main(const char *name, int argc, char **argv)
{
	char *slash;

	if (readlink("/proc/self/exe", stub_dir, sizeof stub_dir - 1) < 0)
		return 95;
	if ((slash = strrchr(stub_dir, '/')))
		*slash = '\0';
	if (strcmp(name, "postern-core") == 0)
		return stub("core", MSG_CORE, argc, argv);
	if (strcmp(name, "postern-spawn") == 0)
		return stub("spawn", MSG_SPAWN, argc, argv);
	if (strcmp(name, "postern-signer") == 0)
		return stub("signer", MSG_SIGNER, argc, argv);
	if (strcmp(name, "postern-export") == 0)
		return stub("export", MSG_EXPORT, argc, argv);
	if (argc > 1 && strcmp(argv[1], "worker") == 0)
		return stub("worker", MSG_WORKER, argc, argv);
	return stub("listener", MSG_LISTENER, argc, argv);
}

void stub_copy(const char *from, const char *dir, const char *name)
{
	char path[200], buf[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	ssize_t n;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof buf)) > 0)
		if (write(out, buf, (size_t)n) != n)
			break;
	(void)close(in);
	(void)close(out);
}
