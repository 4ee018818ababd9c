#include "lib/signame.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "lib/util.h"

static const struct {
	int number;
	const char *name;
} signals[] = {
    {SIGABRT, "ABRT"},
    {SIGALRM, "ALRM"},
    {SIGFPE, "FPE"},
    {SIGHUP, "HUP"},
    {SIGILL, "ILL"},
    {SIGINT, "INT"},
    {SIGKILL, "KILL"},
    {SIGPIPE, "PIPE"},
    {SIGQUIT, "QUIT"},
    {SIGSEGV, "SEGV"},
    {SIGTERM, "TERM"},
    {SIGUSR1, "USR1"},
    {SIGUSR2, "USR2"},
};

const char *signame(int signo)
{
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (signals[i].number == signo)
			return signals[i].name;
	return NULL;
}

int signame_number(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return 0;
}
