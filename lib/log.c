#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048

static struct {
	const char *ident;
	int level;
	bool journal;
} state = {"postern", LOG_INFO, false};

/* systemd.exec(5): $JOURNAL_STREAM is DEVICE:INODE of the stream that reaches the journal. */
static bool stderr_is_journal(void)
{
	const char *want = getenv("JOURNAL_STREAM");
	char have[64];
	struct stat st;

	if (!want || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(have, sizeof have, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(want, have) == 0;
}

void log_open(const char *ident, int level)
{
	state.ident = ident;
	state.level = level;
	state.journal = stderr_is_journal();
}

/* Copies text as one line: what is no printable character becomes \xNN; UTF-8 is kept but for the
 * C1 controls (U+0080..U+009F), which a terminal obeys. Returns the length. */
static size_t one_line(char *dst, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

		if (at + 4 > size)
			break;
		if (*p < 0x20 || *p == 0x7f || c1) {
			dst[at++] = '\\';
			dst[at++] = 'x';
			dst[at++] = hex[*p >> 4];
			dst[at++] = hex[*p & 15];
			if (c1) {
				if (at + 4 > size)
					break;
				p++;
				dst[at++] = '\\';
				dst[at++] = 'x';
				dst[at++] = hex[*p >> 4];
				dst[at++] = hex[*p & 15];
			}
		} else {
			dst[at++] = (char)*p;
		}
	}
	return at;
}

void log_msg(int priority, const char *fmt, ...)
{
	char text[LINE_MAX_LEN], line[LINE_MAX_LEN + 64];
	int saved = errno, n;
	size_t at;
	va_list ap;

	if (priority > state.level)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0)
		(void)snprintf(text, sizeof text, "(a message that could not be formatted)");
	if (state.journal)
		n = snprintf(line, 64, "<%d>", priority & LOG_PRIMASK);
	else
		n = snprintf(line, 64, "%s: ", state.ident);
	at = n < 0 ? 0 : n > 63 ? 63 : (size_t)n;
	at += one_line(line + at, sizeof line - 1 - at, text);
	line[at++] = '\n';
	/* one write, so that lines of several processes do not mix; nobody to tell if it fails */
	if (write(STDERR_FILENO, line, at) < 0)
		errno = saved;
	errno = saved;
}
