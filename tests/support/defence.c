#define POSTERN_DEFENCES
#include "tests/support/defence.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "filters_weak.h"
#include "lib/defence.h"
#include "lib/util.h"

static char env[256] = "DEFENCES_OFF=";
static char *const off = env + sizeof "DEFENCES_OFF=" - 1;

void defence_set(const char *names)
{
	(void)snprintf(off, sizeof env - (size_t)(off - env), "%s", names);
}

bool defence_off(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = off; *p; p += strcspn(p, ","), p += *p == ',')
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

bool defence_filter(const struct sock_filter **ret, unsigned short *ret_len)
{
	for (size_t i = 0; i < ARRAY_LEN(filters_weak); i++)
		if (defence_off(filters_weak[i].name)) {
			*ret = filters_weak[i].prog;
			*ret_len = filters_weak[i].len;
			return true;
		}
	return false;
}

char **defence_environ(void)
{
	static char *list[] = {env, NULL};

	return list;
}
