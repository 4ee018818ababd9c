/*
 * Error text that travels upwards.
 *
 * A struct err lives in the caller's memory, has a fixed size, and is filled without malloc, so the
 * error path cannot fail. Functions return 0 or -errno; those that can say more take a struct err
 * as well. Every function here accepts e == NULL and then only returns the code.
 *
 * Depends on libc alone; never logs, never exits.
 */
#ifndef POSTERN_LIB_ERR_H
#define POSTERN_LIB_ERR_H

#define ERR_TEXT_MAX 320 /* longest text, terminating NUL included; longer texts are cut */

struct err {
	int code; /* 0, or a negative errno */
	char text[ERR_TEXT_MAX];
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		0, ""                                                                              \
	}

/* Sets code and text (printf-like; %m is the errno of the call). Returns code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "FMT: " in front of the text. Returns e->code, so that it can end a return statement;
 * with e == NULL it returns code. */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text, or strerror of the code when no text was set; never NULL. */
const char *err_text(const struct err *e);

#endif
