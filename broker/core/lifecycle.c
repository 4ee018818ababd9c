#include "broker/core/lifecycle.h"

#include <string.h>

#define NO (-1)

/* clang-format off */
static const signed char conn_table[CONN_STATES][CONN_EVENTS] = {
	/*              ACCEPTED    GRANTED     CLOSED */
	[CONN_SPARE] = {CONN_AUTH,  NO,         CONN_ENDED},
	[CONN_AUTH]  = {NO,         CONN_OPEN,  CONN_ENDED},
	[CONN_OPEN]  = {NO,         NO,         CONN_ENDED},
	[CONN_ENDED] = {NO,         NO,         NO},
};

static const signed char session_table[SESSION_STATES][SESSION_EVENTS] = {
	/*                    ORDERED           STARTED         FAILED         END             GONE */
	[SESSION_NEW]      = {SESSION_STARTING, NO,             SESSION_ENDED, SESSION_ENDED,  NO},
	[SESSION_STARTING] = {NO,               SESSION_LIVE,   SESSION_ENDED, SESSION_ENDING, SESSION_ENDED},
	[SESSION_LIVE]     = {NO,               NO,             NO,            SESSION_ENDING, SESSION_ENDED},
	[SESSION_ENDING]   = {NO,               SESSION_ENDING, SESSION_ENDED, NO,             SESSION_ENDED},
	[SESSION_ENDED]    = {NO,               NO,             NO,            NO,             NO},
};
/* clang-format on */

static const char *const conn_names[CONN_STATES] = {"spare", "auth", "open", "ended"};
static const char *const session_names[SESSION_STATES] = {
    "new", "starting", "live", "ending", "ended"};

int conn_next(enum conn_state s, enum conn_event e)
{
	return conn_table[s][e];
}

int session_next(enum session_state s, enum session_event e)
{
	return session_table[s][e];
}

const char *conn_state_name(enum conn_state s)
{
	return conn_names[s];
}

const char *session_state_name(enum session_state s)
{
	return session_names[s];
}

static int find(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

int conn_state_find(const char *name)
{
	return find(conn_names, CONN_STATES, name);
}

int session_state_find(const char *name)
{
	return find(session_names, SESSION_STATES, name);
}
