#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/ctl/check.h"
#include "broker/ctl/ctl.h"
#include "lib/buf.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * A stock sshd in front of Postern: what `sshd -T` says of an agent's account. Without these
 * settings a login reaches the host itself: ForceCommand alone leaves port forwarding open,
 * ~/.ssh/rc runs outside of any sandbox, and a plain key gets in without a certificate.
 */

#define SSHD       "/usr/sbin/sshd"
#define OUTPUT_MAX (256u * 1024)
#define AGENTS     "postern-agents"

/* want: the exact value; NULL: must be set and not none. */
static const struct {
	const char *key, *want, *why;
} rules[] = {
    {"usepam", "yes", "pam_postern is not asked"},
    {"disableforwarding", "yes", "a forwarded port reaches this host's own services"},
    {"permituserrc", "no", "~/.ssh/rc runs outside of the sandbox"},
    {"permituserenvironment", "no", "~/.ssh/environment reaches sshd's child"},
    {"authorizedkeysfile", "none", "a plain key gets in without a certificate"},
    {"passwordauthentication", "no", "a password gets in without a certificate"},
    {"kbdinteractiveauthentication", "no", "a password gets in without a certificate"},
    {"trustedusercakeys", NULL, "no certificate is accepted"},
    {"forcecommand", NULL, "commands run on the host"},
};

static const char *value_of(char *const *lines, size_t n, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < n; i++)
		if (strncmp(lines[i], key, len) == 0 && lines[i][len] == ' ')
			return lines[i] + len + 1;
	return NULL;
}

static bool fits(const char *want, const char *value)
{
	if (!value)
		return false;
	return want ? strcmp(value, want) == 0 : *value && strcmp(value, "none") != 0;
}

void check_sshd_text(struct check *k, char *text)
{
	char *lines[1024], name[64], shown[128];
	const char *value;
	size_t n = 0;

	while (n < ARRAY_LEN(lines) && (lines[n] = strsep(&text, "\n")))
		n++;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		value = value_of(lines, n, rules[i].key);
		(void)snprintf(name, sizeof name, "sshd %s", rules[i].key);
		if (fits(rules[i].want, value)) {
			check_add(k, CHECK_OK, name, "%s",
			    str_escape(shown, sizeof shown, value, strlen(value)));
			continue;
		}
		check_add(k, CHECK_BAD, name, "is %s, must be %s: else %s",
		    value ? str_escape(shown, sizeof shown, value, strlen(value)) : "not set",
		    rules[i].want ? rules[i].want : "set", rules[i].why);
	}
	value = value_of(lines, n, "forcecommand");
	if (value && !strstr(value, "postern-run"))
		check_add(k, CHECK_BAD, "sshd forcecommand", "does not start postern-run");
	if ((value = value_of(lines, n, "acceptenv")))
		check_add(k, CHECK_WARN, "sshd acceptenv",
		    "%s: variables of the client's reach sshd's child; leave AcceptEnv out",
		    str_escape(shown, sizeof shown, value, strlen(value)));
}

/* The account to ask about: --user, else the first one of the group. */
static const char *account(const struct ctl *c)
{
	const struct group *g;

	if (ctl_opt(c, "user"))
		return ctl_opt(c, "user");
	g = getgrnam(AGENTS);
	return g && g->gr_mem && g->gr_mem[0] ? g->gr_mem[0] : NULL;
}

void check_sshd(struct check *k, const struct ctl *c)
{
	const char *file = ctl_opt(c, "sshd-config"), *user = account(c);
	const char *argv[8] = {SSHD, "-T"};
	cleanup_buf struct buf out = {0};
	char connection[128];
	size_t n = 2;
	int r;

	buf_init(&out, OUTPUT_MAX);
	if (!file && !user)
		return; /* this host's sshd does not lead to Postern */
	if (file) {
		argv[n++] = "-f";
		argv[n++] = file;
	}
	if (user) {
		if (snprintf(connection, sizeof connection, "user=%s,host=localhost,addr=127.0.0.1",
		        user) >= (int)sizeof connection ||
		    strchr(user, ',')) {
			check_add(k, CHECK_BAD, "sshd", "--user is no account's name");
			return;
		}
		argv[n++] = "-C";
		argv[n++] = connection;
	}
	r = check_run(argv, &out);
	if (!buf_cstr(&out))
		check_add(k, CHECK_BAD, "sshd", "its output is too long");
	else if (r != 0)
		check_add(
		    k, CHECK_BAD, "sshd", "sshd -T failed (%d): %.200s", r, (const char *)out.data);
	else
		check_sshd_text(k, (char *)out.data);
}
