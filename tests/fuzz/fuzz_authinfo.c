/* What sshd's variable, and a status pipe, can hold. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "pam/authinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buf struct buf b;
	enum status_kind kind;
	uint32_t value;

	buf_init(&b, AUTHINFO_KEY_MAX);
	if (authinfo_parse((const char *)data, size, &b, NULL) < 0)
		assert(b.len == 0);
	else
		assert(b.len >= 4 && b.len <= AUTHINFO_KEY_MAX && memchr(data, 0, size) == NULL);
	if (size >= STATUS_LEN && status_parse(data, &kind, &value) == 0)
		assert(value <= 4095);
	return 0;
}
