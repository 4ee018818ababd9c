/* What a local client can put into a socket of ours before it is accepted. */
#include "broker/supervisor/sockets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/seqpacket.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

#define SO_PASSRIGHTS_ 83 /* Linux 6.16 */

/* A descriptor that is dropped by the core can hold it for as long as its
 * sender likes (SO_LINGER). */
static void an_unaccepted_client_passes_no_descriptor(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "run.sock"};
	cleanup_close int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cleanup_close int listening = -1;
	struct err e = ERR_INIT;
	socklen_t len = sizeof(int);
	int on;

	(void)state;
	if (geteuid() != 0 || getsockopt(client, SOL_SOCKET, SO_PASSRIGHTS_, &on, &len) < 0)
		skip();
	assert_int_equal(sockets_unix(dir, "run.sock", 0, 0666, &listening, &e), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(seqpacket_send(client, "{}", 2, &dir, 1), -EPERM);
	assert_int_equal(seqpacket_send(client, "{}", 2, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_unaccepted_client_passes_no_descriptor),
	};

	return cmocka_run_group_tests(tests, keygen_enter, keygen_leave);
}
