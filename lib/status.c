#include "lib/status.h"

#include <errno.h>
#include <stddef.h>

#include "lib/reader.h"

#define EXIT_CODE_MAX 255
#define SIGNAL_MAX    64
#define ERRNO_MAX     4095

int status_parse(const uint8_t in[STATUS_LEN], enum status_kind *ret_kind, uint32_t *ret_value)
{
	struct reader r;
	const uint8_t *zero = NULL;
	uint32_t value = 0, min, max;
	uint8_t kind = 0;

	reader_init(&r, in, STATUS_LEN);
	if (reader_u8(&r, &kind) < 0 || reader_bytes(&r, 3, &zero) < 0 ||
	    reader_u32(&r, &value) < 0 || reader_end(&r) < 0)
		return -EBADMSG;
	if (zero[0] != 0 || zero[1] != 0 || zero[2] != 0)
		return -EBADMSG;
	switch (kind) {
	case STATUS_EXITED:
		min = 0;
		max = EXIT_CODE_MAX;
		break;
	case STATUS_SIGNALED:
		min = 1;
		max = SIGNAL_MAX;
		break;
	case STATUS_FAILED:
		min = 1;
		max = ERRNO_MAX;
		break;
	default:
		return -EBADMSG;
	}
	if (value < min || value > max)
		return -EBADMSG;
	*ret_kind = (enum status_kind)kind;
	*ret_value = value;
	return 0;
}
