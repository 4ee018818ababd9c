/* Who may be counted against a tenant: the gateway's workers, and nobody else that a core names. */
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "broker/spawn/serve_internal.h"
#include "lib/log.h"
#include "lib/msg.h"

static unsigned charged;
static char sandbox;

static int count(struct sandbox *s, pid_t pid)
{
	(void)s;
	(void)pid;
	charged++;
	return 0;
}

static void say(struct serve *s, const char *session, pid_t pid)
{
	struct msg m = MSG_INIT;

	m.body = json_pack("{s:s, s:i}", "session", session, "pid", (int)pid);
	assert_non_null(m.body);
	serve_charge(s, &m);
	json_decref(m.body);
}

static void charges_workers_alone(void **state)
{
	static const struct backend_ops ops = {.charge = count};
	const struct serve_config c = {.workers = getuid(), .nworkers = 1};
	struct serve s = {.c = &c, .ops = &ops};
	pid_t other = 1;
	int ready[2];
	char byte;

	(void)state;
	log_open("test", LOG_CRIT);
	assert_int_equal(pipe(ready), 0);
	if (geteuid() == 0 && (other = fork()) == 0) {
		if (setresuid(12345, 12345, 12345) == 0 && write(ready[1], "r", 1) == 1)
			(void)pause();
		_exit(1);
	}
	struct live *v = live_new(&s.live, &s, "one");

	assert_non_null(v);
	say(&s, "one", getpid()); /* has no sandbox yet */
	assert_int_equal(charged, 0);
	v->sandbox = (struct sandbox *)(void *)&sandbox;
	say(&s, "one", getpid());
	assert_int_equal(charged, 1);
	say(&s, "two", getpid());
	say(&s, "one", 0);
	say(&s, "one", INT_MAX);
	say(&s, "one", -1);
	assert_int_equal(charged, 1);
	if (other != 1) /* until it has its ids */
		assert_int_equal(read(ready[0], &byte, 1), 1);
	say(&s, "one", other);
	v->sandbox = NULL;
	live_remove(&s.live, v);
	if (other != 1) {
		(void)kill(other, SIGKILL);
		(void)waitpid(other, NULL, 0);
	}
	assert_int_equal(charged, 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(charges_workers_alone)};

	return cmocka_run_group_tests_name("serve_charge", tests, NULL, NULL);
}
