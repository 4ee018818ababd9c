/*
 * What a guest sends, to the host's end of a virtual machine's port.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "broker/vm/bridge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A command's channel is open, and the guest may open others; nothing is dialled, as credentials
 * are off for every other input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bridge b;
	struct mux_channel *c;
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return 0;
	bridge_init(&b, -1, -1, false, "config", 6);
	if ((c = mux_open(&b.mux, 1))) {
		mux_send(&b.mux, c, 0, in[0]);
		mux_take(&b.mux, c, 1, out[1]);
		mux_take(&b.mux, c, 2, -1);
		mux_take(&b.mux, c, 3, open("/dev/null", O_WRONLY | O_CLOEXEC));
	}
	for (size_t at = 0, n; at < size; at += n) { /* in pieces, as it comes */
		n = 1 + data[at] * 64u;
		n = n > size - at ? size - at : n;
		if (mux_feed(&b.mux, data + at, n) < 0)
			break;
	}
	bridge_done(&b);
	(void)close(in[1]);
	(void)close(out[0]);
	return 0;
}
