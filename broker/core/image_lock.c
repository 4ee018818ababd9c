#include "broker/core/image_lock.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

#define BEHIND_HEX (PLAN_IMAGE_HEX_LEN + 2)

/* The next line without its end; *at moves behind it. NULL: no more. */
static const char *next_line(const char *text, size_t len, size_t *at, size_t *ret_len)
{
	const char *line = text + *at, *end;

	if (*at >= len)
		return NULL;
	end = memchr(line, '\n', len - *at);
	*ret_len = end ? (size_t)(end - line) : len - *at;
	*at += *ret_len + 1;
	return line;
}

static bool line_ok(const char *line, size_t len)
{
	char path[PLAN_PATH_MAX];

	if (len <= BEHIND_HEX || len - BEHIND_HEX >= sizeof path || memchr(line, '\0', len) ||
	    line[PLAN_IMAGE_HEX_LEN] != ' ' || line[PLAN_IMAGE_HEX_LEN + 1] != ' ')
		return false;
	for (size_t i = 0; i < PLAN_IMAGE_HEX_LEN; i++)
		if (!strchr("0123456789abcdef", line[i]))
			return false;
	memcpy(path, line + BEHIND_HEX, len - BEHIND_HEX);
	path[len - BEHIND_HEX] = '\0';
	return plan_path_valid(path);
}

int image_lock_check(const char *text, size_t len, struct err *e)
{
	size_t at = 0, n, number = 0;
	const char *line;

	while ((line = next_line(text, len, &at, &n))) {
		number++;
		if (!line_ok(line, n))
			return err_set(e, -EINVAL,
			    IMAGE_LOCK_FILE
			    ":%zu: must be a SHA-256, two spaces and an absolute path",
			    number);
	}
	return 0;
}

bool image_lock_find(
    const char *text, size_t len, const char *file, char ret[PLAN_IMAGE_HEX_LEN + 1])
{
	size_t at = 0, n, want = strlen(file);
	const char *line;

	ret[0] = '\0';
	while ((line = next_line(text, len, &at, &n)))
		if (n == BEHIND_HEX + want && memcmp(line + BEHIND_HEX, file, want) == 0) {
			memcpy(ret, line, PLAN_IMAGE_HEX_LEN);
			ret[PLAN_IMAGE_HEX_LEN] = '\0';
		}
	return *ret != '\0';
}
