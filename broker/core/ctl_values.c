#include "broker/core/ctl_values.h"

#include <string.h>

#include "broker/audit/private.h"
#include "broker/core/core.h"
#include "lib/buf.h"
#include "lib/msg.h"
#include "lib/str.h"

/* Everything that looks like one. What is foreign cannot: its quote marks are escaped, and a value
 * that was not committed to is not found. */
void ctl_values_find(json_t *set, const char *data, size_t len)
{
	const char *end = data + len, *at = data;

	while (at < end && (at = memmem(at, (size_t)(end - at), "\"c:", 3)) != NULL) {
		char text[PRIVATE_TEXT_LEN + 1] = "";

		at++;
		if ((size_t)(end - at) <= PRIVATE_TEXT_LEN)
			return;
		memcpy(text, at, PRIVATE_TEXT_LEN);
		if (private_is_text(text, PRIVATE_TEXT_LEN) &&
		    json_object_size(set) < CTL_VALUES_MAX)
			(void)json_object_set_new(set, text, json_true());
	}
}

json_t *ctl_values(struct core *c, json_t *set)
{
	json_t *list = json_array(), *v;
	cleanup_buf struct buf b;
	size_t bytes = 0;
	const char *text;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	json_object_foreach(set, text, v)
	{
		buf_reset(&b);
		if (private_entry(c->store, text, strlen(text), &b) < 0)
			continue; /* erased */
		bytes += B64_LEN(b.len) + 4;
		if (bytes > CTL_VALUES_BYTES)
			break;
		if (list)
			(void)json_array_append_new(list, msg_json_bytes(b.data, b.len));
	}
	return list;
}
