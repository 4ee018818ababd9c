#include "pam/denial.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"

int denial_text(const struct msg *m, struct err *e)
{
	const char *reason = msg_str(m, "reason");
	int64_t record = msg_int(m, "record", 0);
	char safe[ERR_TEXT_MAX - 40];

	if (!reason)
		reason = "no reason given";
	(void)str_escape(safe, sizeof safe, reason, strlen(reason));
	if (record > 0)
		return err_set(e, -EACCES, "%s (record %" PRId64 ")", safe, record);
	return err_set(e, -EACCES, "%s", safe);
}
