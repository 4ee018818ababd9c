#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The new text is made beside the old one, because a caller may print e->text into itself. */
static void format(char *dst, size_t size, const char *fmt, va_list ap)
{
	if (vsnprintf(dst, size, fmt, ap) < 0)
		dst[0] = '\0';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	int saved = errno;
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	format(text, sizeof text, fmt, ap);
	va_end(ap);
	e->code = code;
	memcpy(e->text, text, sizeof text);
	errno = saved;
	return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	int saved = errno;
	size_t n;
	va_list ap;

	if (!e)
		return code;
	if (e->code == 0)
		e->code = code;
	va_start(ap, fmt);
	format(text, sizeof text, fmt, ap);
	va_end(ap);
	n = strlen(text);
	(void)snprintf(text + n, sizeof text - n, ": %s", err_text(e));
	memcpy(e->text, text, sizeof text);
	errno = saved;
	return e->code;
}

const char *err_text(const struct err *e)
{
	const char *s;

	if (!e)
		return "unknown error";
	if (e->text[0] != '\0')
		return e->text;
	if (e->code == 0)
		return "no error";
	s = strerrordesc_np(e->code < 0 ? -e->code : e->code);
	return s ? s : "unknown error";
}
