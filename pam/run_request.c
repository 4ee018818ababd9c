#include "pam/run_request.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"

/* Where Linux distributions keep OpenSSH's sftp server, and sshd's name for its own. */
static bool is_sftp(const char *command)
{
	static const char *const known[] = {
	    "internal-sftp",
	    "/usr/lib/openssh/sftp-server",
	    "/usr/libexec/openssh/sftp-server",
	    "/usr/lib/ssh/sftp-server",
	    "/usr/lib/sftp-server",
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(command, known[i]) == 0)
			return true;
	return false;
}

/* TERM is the client's word: only what a terminal type looks like goes on. */
static bool term_valid(const char *term)
{
	size_t n = strnlen(term, RUN_TERM_MAX + 1);

	if (n == 0 || n > RUN_TERM_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (term[i] < 0x21 || term[i] > 0x7e)
			return false;
	return true;
}

static json_t *terminal(int tty, const char *term)
{
	struct winsize w = {0};

	if (ioctl(tty, TIOCGWINSZ, &w) < 0)
		w = (struct winsize){0};
	return json_pack("{s:s, s:i, s:i, s:i, s:i}", "term",
	    term && term_valid(term) ? term : "dumb", "cols", (int)w.ws_col, "rows", (int)w.ws_row,
	    "xpixel", (int)w.ws_xpixel, "ypixel", (int)w.ws_ypixel);
}

int run_request(const char *original, int tty, const char *term, json_t **ret, struct err *e)
{
	const char *kind = "exec";
	json_t *command = NULL, *pty = tty >= 0 ? terminal(tty, term) : NULL, *body;

	if (original && strlen(original) > RUN_COMMAND_MAX) {
		json_decref(pty);
		return err_set(e, -E2BIG, "the command is too long");
	}
	if (!original) {
		kind = "shell";
	} else if (is_sftp(original)) {
		kind = "subsystem";
		command = msg_json_bytes("sftp", 4);
	} else {
		command = msg_json_bytes(original, strlen(original));
	}
	/* a NULL is left out; what could not be made is missed below */
	body = json_pack("{s:i, s:s, s:o*, s:o*}", "channel", RUN_CHANNEL, "kind", kind, "command",
	    command, "pty", pty);
	if (!body || (original && !command) || (tty >= 0 && !pty)) {
		json_decref(body);
		return err_set(e, -ENOMEM, "no memory");
	}
	*ret = body;
	return 0;
}
