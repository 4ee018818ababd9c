#include "gateway/ssh/status.h"

#include <errno.h>

#include "lib/reader.h"

static int record(struct status *s)
{
	const uint8_t *zero;
	struct reader r;
	uint8_t kind;
	uint32_t value;

	reader_init(&r, s->data, STATUS_LEN);
	if (reader_u8(&r, &kind) < 0 || reader_bytes(&r, 3, &zero) < 0 ||
	    reader_u32(&r, &value) < 0 || reader_end(&r) < 0)
		return -EBADMSG;
	if (zero[0] || zero[1] || zero[2] || status_final(s) || ++s->records > STATUS_RECORDS_MAX)
		return -EBADMSG;
	switch (kind) {
	case STATUS_EXITED:
		if (value > 255)
			return -EBADMSG;
		s->exited = true;
		s->value = value;
		return 0;
	case STATUS_SIGNALED:
		if (value < 1 || value > 64)
			return -EBADMSG;
		s->signaled = true;
		s->value = value;
		return 0;
	case STATUS_FAILED:
		if (value < 1 || value > 4095 || s->failed)
			return -EBADMSG;
		s->failed = true;
		s->failed_errno = value;
		return 0;
	default:
		return -EBADMSG;
	}
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
