/*
 * pam_postern.so as libpam loads it, against a core that the test plays. As root, in a cgroup of
 * its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"
#include "pam/authinfo.h"
#include "pam/cgroup.h"
#include "pam/query.h"
#include "tests/support/pam_core.h"

#define TYPE "ssh-ed25519-cert-v01@openssh.com"

/* What libpam had us tell the person. */
static char said[512];

static int converse(int n, const struct pam_message **m, struct pam_response **ret, void *arg)
{
	(void)arg;
	*ret = calloc((size_t)n, sizeof **ret);
	for (int i = 0; i < n; i++)
		(void)snprintf(said, sizeof said, "%s", m[i]->msg);
	return PAM_SUCCESS;
}

static void service(const char *name, const char *text)
{
	char path[128];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof path, "%s/%s", pam_core.dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int set_up(void **state)
{
	const char *build = getenv("BUILD");
	cleanup_free char *so = realpath(build ? build : "build", NULL);
	char text[4096];

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	assert_non_null(so);
	(void)str_copy(pam_core.dir, sizeof pam_core.dir, "/tmp/postern-test-pam-XXXXXX");
	assert_non_null(mkdtemp(pam_core.dir));
	(void)snprintf(pam_core.socket, sizeof pam_core.socket, "%s/pam.sock", pam_core.dir);
	(void)snprintf(text, sizeof text,
	    "account required %s/lib/security/pam_postern.so socket=%s\n"
	    "account required pam_permit.so\n"
	    "session required %s/lib/security/pam_postern.so socket=%s\n",
	    so, pam_core.socket, so, pam_core.socket);
	service("postern", text);
	(void)snprintf(text, sizeof text,
	    "account required %s/lib/security/pam_postern.so\n"
	    "session required %s/lib/security/pam_postern.so sokcet=/x\n"
	    "session required pam_permit.so\n",
	    so, so);
	service("alone", text);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(pam_core.cgroup, sizeof pam_core.cgroup, "%s/postern-test-pam-%d",
		    i == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup", getpid());
		if (mkdir(pam_core.cgroup, 0755) == 0)
			return 0;
	}
	return -1;
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof path, "%s/postern", pam_core.dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof path, "%s/alone", pam_core.dir);
	(void)unlink(path);
	(void)rmdir(pam_core.dir);
	return rmdir(pam_core.cgroup);
}

static const char *certificate(void)
{
	static char text[512];
	cleanup_buf struct buf b;
	char b64[400];

	buf_init(&b, 256);
	buf_put_cstring(&b, TYPE);
	buf_put(&b, "certificate", 11);
	b64_encode(b64, b.data, b.len);
	(void)snprintf(text, sizeof text, AUTHINFO_NAME "=publickey " TYPE " %s\n", b64);
	return text;
}

static pam_handle_t *login(const char *where, const char *info, const char *rhost)
{
	static const struct pam_conv conv = {converse, NULL};
	pam_handle_t *h = NULL;

	said[0] = '\0';
	assert_int_equal(
	    pam_start_confdir(where, "demo-agent", &conv, pam_core.dir, &h), PAM_SUCCESS);
	if (rhost)
		assert_int_equal(pam_set_item(h, PAM_RHOST, rhost), PAM_SUCCESS);
	if (info)
		assert_int_equal(pam_putenv(h, info), PAM_SUCCESS);
	return h;
}

static void assert_tied(bool want)
{
	char here[CGROUP_PATH_MAX];

	assert_int_equal(cgroup_here(here, NULL), 0);
	assert_int_equal(strstr(here, strrchr(pam_core.cgroup, '/')) != NULL, want);
}

static void refused(const char *info, const char *rhost, const char *why)
{
	pam_handle_t *h = login("postern", info, rhost);

	assert_int_equal(pam_open_session(h, 0), PAM_SESSION_ERR);
	assert_non_null(strstr(said, "postern: denied: "));
	if (!strstr(said, why))
		fail_msg("\"%s\" does not say \"%s\"", said, why);
	(void)pam_end(h, PAM_SESSION_ERR);
	assert_tied(false);
}

/* ---- the rules ---- */

static void opens_with_a_certificate_and_binds_the_process(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");

	(void)state;
	pam_core_start(OPENED);
	assert_int_equal(pam_acct_mgmt(h, 0), PAM_SUCCESS);
	assert_int_equal(pam_open_session(h, 0), PAM_SUCCESS);
	(void)pthread_join(pam_core.thread, NULL);
	assert_true(pam_core.asked);
	assert_string_equal(pam_core.user, "demo-agent");
	assert_string_equal(pam_core.peer, "192.0.2.7");
	assert_int_equal(pam_core.key_len, 4 + strlen(TYPE) + 11);
	assert_memory_equal(pam_core.key + pam_core.key_len - 11, "certificate", 11);
	assert_string_equal(said, "");
	assert_tied(true);
	assert_int_equal(pam_close_session(h, 0), PAM_SUCCESS);
	assert_tied(false);
	assert_string_equal(pam_core_heard(), "pam.close");
	assert_string_equal(pam_core_heard(), "");
	assert_int_equal(pam_end(h, PAM_SUCCESS), PAM_SUCCESS);
	pam_core_stop();
}

static void a_process_that_dies_closes_the_socket(void **state)
{
	pid_t pid;

	(void)state;
	pam_core_start(OPENED);
	pid = fork();
	if (pid == 0) {
		pam_handle_t *h = login("postern", certificate(), "192.0.2.7");

		_exit(pam_open_session(h, 0) == PAM_SUCCESS ? (pause(), 0) : 1);
	}
	(void)pthread_join(pam_core.thread, NULL);
	assert_true(pam_core.asked);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_string_equal(pam_core_heard(), "");
	pam_core_stop();
}

/* sshd forks the user's part without exec; its end is not the session's. */
static void a_fork_that_ends_the_handle_does_not_end_the_session(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");
	struct pollfd p;
	int status = -1;
	pid_t pid;

	(void)state;
	pam_core_start(OPENED);
	assert_int_equal(pam_open_session(h, 0), PAM_SUCCESS);
	(void)pthread_join(pam_core.thread, NULL);
	pid = fork();
	if (pid == 0) {
		(void)pam_close_session(h, PAM_SILENT);
		(void)pam_end(h, PAM_SUCCESS);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	p = (struct pollfd){chan_fd(pam_core.chan), POLLIN, 0};
	assert_int_equal(poll(&p, 1, 100), 0);
	assert_int_equal(pam_close_session(h, 0), PAM_SUCCESS);
	assert_string_equal(pam_core_heard(), "pam.close");
	assert_int_equal(pam_end(h, PAM_SUCCESS), PAM_SUCCESS);
	pam_core_stop();
}

static void ending_the_handle_without_closing_closes_the_socket(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");
	char here[CGROUP_PATH_MAX];

	(void)state;
	assert_int_equal(cgroup_here(here, NULL), 0);
	pam_core_start(OPENED);
	assert_int_equal(pam_open_session(h, 0), PAM_SUCCESS);
	(void)pthread_join(pam_core.thread, NULL);
	assert_int_equal(pam_end(h, PAM_SUCCESS), PAM_SUCCESS);
	assert_string_equal(pam_core_heard(), "");
	assert_int_equal(cgroup_return(here), 0);
	pam_core_stop();
}

static void no_descriptor_survives_an_exec(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");
	int status = -1;
	pid_t pid;

	(void)state;
	pam_core_start(OPENED);
	assert_int_equal(pam_open_session(h, 0), PAM_SUCCESS);
	(void)pthread_join(pam_core.thread, NULL);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c",
		    "! ls -l /proc/self/fd | grep -e socket: -e cgroup >&2", (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pam_close_session(h, 0), PAM_SUCCESS);
	(void)pam_end(h, PAM_SUCCESS);
	pam_core_stop();
}

static void a_second_session_on_one_handle_is_refused(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");

	(void)state;
	pam_core_start(OPENED);
	assert_int_equal(pam_open_session(h, 0), PAM_SUCCESS);
	assert_int_equal(pam_open_session(h, 0), PAM_SESSION_ERR);
	(void)pthread_join(pam_core.thread, NULL);
	(void)pam_close_session(h, 0); /* libpam remembers the refusal; the first session ends */
	assert_string_equal(pam_core_heard(), "pam.close");
	assert_tied(false);
	(void)pam_end(h, PAM_SUCCESS);
	pam_core_stop();
}

static void a_denial_says_why_with_its_record_and_harmlessly(void **state)
{
	(void)state;
	pam_core_start(DENIED);
	refused(
	    certificate(), "192.0.2.7", "postern: denied: no such role\\x0a\\x1b[2J (record 41)");
	pam_core_stop();
}

static void a_silent_caller_is_told_nothing(void **state)
{
	pam_handle_t *h = login("postern", certificate(), "192.0.2.7");

	(void)state;
	pam_core_start(DENIED);
	assert_int_equal(pam_open_session(h, PAM_SILENT), PAM_SESSION_ERR);
	assert_string_equal(said, "");
	(void)pam_end(h, PAM_SESSION_ERR);
	pam_core_stop();
}

static void an_absent_or_empty_or_doubtful_login_is_refused(void **state)
{
	char two[1024];

	(void)state;
	pam_core_start(OPENED);
	refused(NULL, "192.0.2.7", "sshd names no key");
	refused(AUTHINFO_NAME "=", "192.0.2.7", "sshd names no key");
	refused(AUTHINFO_NAME "=password\n", "192.0.2.7", "not authenticated by a key");
	refused(AUTHINFO_NAME "=publickey ssh-ed25519 AAAA\n", "192.0.2.7",
	    "not authenticated by a certificate");
	(void)snprintf(two, sizeof two, "%spassword\n", certificate());
	refused(two, "192.0.2.7", "more than one way");
	refused(certificate(), NULL, "where the login comes from");
	refused(certificate(), "host.example", "numeric address");
	refused(certificate(), "UNKNOWN", "numeric address");
	/* and nobody was asked */
	assert_false(pam_core.asked);
	(void)pthread_cancel(pam_core.thread);
	pam_core_stop();
}

static void account_only_ever_refuses(void **state)
{
	pam_handle_t *h = login("alone", certificate(), "192.0.2.7");

	(void)state;
	/* alone in its stack it is no reason to let anybody in */
	assert_int_not_equal(pam_acct_mgmt(h, 0), PAM_SUCCESS);
	(void)pam_end(h, PAM_SUCCESS);
	h = login("alone", NULL, "192.0.2.7");
	assert_int_not_equal(pam_acct_mgmt(h, 0), PAM_SUCCESS);
	(void)pam_end(h, PAM_SUCCESS);
	/* as on OpenSSH 9.2 */
	h = login("postern", AUTHINFO_NAME "=", "192.0.2.7");
	assert_int_equal(pam_acct_mgmt(h, 0), PAM_SUCCESS);
	(void)pam_end(h, PAM_SUCCESS);
	h = login("postern", AUTHINFO_NAME "=password\n", "192.0.2.7");
	assert_int_equal(pam_acct_mgmt(h, 0), PAM_PERM_DENIED);
	(void)pam_end(h, PAM_SUCCESS);
}

static void an_unknown_option_refuses(void **state)
{
	pam_handle_t *h = login("alone", certificate(), "192.0.2.7");

	(void)state;
	assert_int_equal(pam_open_session(h, 0), PAM_SESSION_ERR);
	(void)pam_end(h, PAM_SUCCESS);
}

static void a_dead_broker_refuses(void **state)
{
	(void)state;
	refused(certificate(), "192.0.2.7", "the broker cannot be reached"); /* no socket */
	pam_core_listen(0);
	util_close(&pam_core.listener); /* a socket where nobody listens */
	refused(certificate(), "192.0.2.7", "the broker cannot be reached");
	(void)unlink(pam_core.socket);
}

static void a_broker_that_hangs_up_refuses(void **state)
{
	(void)state;
	pam_core_start(HANGS_UP);
	refused(certificate(), "192.0.2.7", "the broker does not answer");
	pam_core_stop();
	pam_core_start(NONSENSE);
	refused(certificate(), "192.0.2.7", "the broker does not answer");
	pam_core_stop();
}

static void a_broker_that_says_nothing_refuses_in_time(void **state)
{
	int64_t start = clock_mono_ns(), took;

	(void)state;
	pam_core_start(SILENT);
	refused(certificate(), "192.0.2.7", "the broker does not answer");
	took = clock_mono_ns() - start;
	assert_in_range(took / 1000000, QUERY_SECONDS * 1000 - 100, QUERY_SECONDS * 1000 + 1500);
	pam_core_stop();
}

static void a_descriptor_that_is_no_cgroup_refuses(void **state)
{
	(void)state;
	pam_core_start(NO_CGROUP);
	refused(certificate(), "192.0.2.7", "no cgroup");
	(void)pthread_join(pam_core.thread, NULL);
	assert_string_equal(pam_core_heard(), "pam.close");
	pam_core_stop();
}

static void somebody_else_on_the_socket_is_not_believed(void **state)
{
	(void)state;
	pam_core_listen(65534);
	refused(certificate(), "192.0.2.7", "somebody else");
	util_close(&pam_core.listener);
	(void)unlink(pam_core.socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opens_with_a_certificate_and_binds_the_process),
	    cmocka_unit_test(a_process_that_dies_closes_the_socket),
	    cmocka_unit_test(a_fork_that_ends_the_handle_does_not_end_the_session),
	    cmocka_unit_test(ending_the_handle_without_closing_closes_the_socket),
	    cmocka_unit_test(no_descriptor_survives_an_exec),
	    cmocka_unit_test(a_second_session_on_one_handle_is_refused),
	    cmocka_unit_test(a_denial_says_why_with_its_record_and_harmlessly),
	    cmocka_unit_test(a_silent_caller_is_told_nothing),
	    cmocka_unit_test(an_absent_or_empty_or_doubtful_login_is_refused),
	    cmocka_unit_test(account_only_ever_refuses),
	    cmocka_unit_test(an_unknown_option_refuses),
	    cmocka_unit_test(a_dead_broker_refuses),
	    cmocka_unit_test(a_broker_that_hangs_up_refuses),
	    cmocka_unit_test(a_broker_that_says_nothing_refuses_in_time),
	    cmocka_unit_test(a_descriptor_that_is_no_cgroup_refuses),
	    cmocka_unit_test(somebody_else_on_the_socket_is_not_believed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
