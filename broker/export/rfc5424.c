#include "broker/export/rfc5424.h"

#include <stdbool.h>
#include <string.h>

#include "broker/export/ocsf.h"
#include "lib/buf.h"
#include "lib/clock.h"

#define HOSTNAME_MAX 255 /* section 6: HOSTNAME = 1*255PRINTUSASCII */
#define HEAD_MAX     2048
#define BOM          "\xEF\xBB\xBF"

static int severity(enum ocsf_severity s)
{
	switch (s) {
	case OCSF_HIGH:
		return 3; /* error */
	case OCSF_MEDIUM:
		return 4; /* warning */
	case OCSF_LOW:
		return 5; /* notice */
	default:
		return 6;
	}
}

static bool print_us_ascii(char c)
{
	return c > ' ' && c < 0x7f;
}

static void put_hostname(struct buf *out, const char *origin)
{
	size_t n = 0;

	for (; origin[n] && origin[n] != '/' && n < HOSTNAME_MAX; n++) {
		char c = print_us_ascii(origin[n]) ? origin[n] : '?';

		buf_put(out, &c, 1);
	}
	if (n == 0)
		buf_put(out, "-", 1);
}

/* PARAM-VALUE: section 6.3.3. What is not printable has no business in ours. */
static void put_param(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, " %s=\"", name);
	for (; *value; value++) {
		char c = (unsigned char)*value < ' ' || *value == 0x7f ? '?' : *value;

		if (c == '"' || c == '\\' || c == ']')
			buf_put(out, "\\", 1);
		buf_put(out, &c, 1);
	}
	buf_put(out, "\"", 1);
}

void rfc5424_frame(
    const struct ocsf_event *ev, const char *origin, const char *log, struct buf *out)
{
	cleanup_buf struct buf head;
	char time[32];

	buf_init(&head, HEAD_MAX);
	clock_format(time, sizeof time, ev->time_ns);
	buf_printf(&head, "<%d>1 %s ", RFC5424_FACILITY * 8 + severity(ev->severity), time);
	put_hostname(&head, origin);
	buf_printf(&head, " postern - %s [postern@32473", ev->checkpoint ? "checkpoint" : "record");
	put_param(&head, "origin", origin);
	put_param(&head, "log", log);
	buf_printf(&head, " seq=\"%llu\"", (unsigned long long)ev->number);
	if (*ev->leaf)
		put_param(&head, ev->checkpoint ? "root" : "leaf", ev->leaf);
	buf_put(&head, "] " BOM, 2 + sizeof BOM - 1);
	if (buf_status(&head) < 0) {
		out->error = buf_status(&head);
		return;
	}
	buf_printf(out, "%zu ", head.len + ev->line.len);
	buf_put(out, head.data, head.len);
	buf_put(out, ev->line.data, ev->line.len);
}
