#include "gateway/ssh/status.h"

#include <errno.h>

static int record(struct status *s)
{
	enum status_kind kind = 0;
	uint32_t value = 0;

	if (status_parse(s->data, &kind, &value) < 0 || status_final(s) ||
	    ++s->records > STATUS_RECORDS_MAX)
		return -EBADMSG;
	switch (kind) {
	case STATUS_EXITED:
		s->exited = true;
		s->value = value;
		return 0;
	case STATUS_SIGNALED:
		s->signaled = true;
		s->value = value;
		return 0;
	case STATUS_FAILED:
		if (s->failed)
			return -EBADMSG;
		s->failed = true;
		s->failed_errno = value;
		return 0;
	}
	return -EBADMSG;
}

int status_take(struct status *s, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		s->data[s->len++] = p[i];
		if (s->len < STATUS_LEN)
			continue;
		s->len = 0;
		if (record(s) < 0)
			return -EBADMSG;
	}
	return 0;
}

bool status_final(const struct status *s)
{
	return s->exited || s->signaled;
}
