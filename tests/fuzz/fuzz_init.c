/*
 * Requests to init, and the status records that come back. Whatever comes, nothing is read outside,
 * and an exec request that was read is written back the same.
 */
#include "broker/init/proto.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct init_request *q, const uint8_t *data, size_t size)
{
	const char *args[INIT_ARGS_MAX + 1], *env[INIT_ENV_MAX + 1];
	struct buf b;

	memcpy(args, q->argv, sizeof args);
	memcpy(env, q->envp, sizeof env);
	buf_init(&b, INIT_REQUEST_MAX);
	if (q->type == INIT_EXEC)
		init_put_exec(&b, q->channel, q->flags, q->cwd, args, env);
	else if (q->type == INIT_SIGNAL)
		init_put_signal(&b, q->channel, q->value);
	else
		init_put_end(&b, q->value);
	if (buf_status(&b) == 0 && (b.len != size || memcmp(b.data, data, size) != 0))
		abort();
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct init_request q;
	uint32_t value;
	uint8_t kind;

	if (init_parse(&q, data, size) == 0)
		again(&q, data, size);
	init_request_done(&q);
	if (size >= INIT_STATUS_LEN)
		(void)init_parse_status(data, &kind, &value);
	return 0;
}
