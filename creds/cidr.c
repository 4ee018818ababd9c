#include "creds/cidr.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291 2.5.5.2 */

static int parse_any(const char *text, struct address *ret, bool *ret_mapped)
{
	struct address a = {0};

	*ret_mapped = false;
	if (inet_pton(AF_INET, text, a.bytes) == 1) {
		a.len = 4;
	} else if (inet_pton(AF_INET6, text, a.bytes) == 1) {
		a.len = 16;
		if (memcmp(a.bytes, mapped, sizeof mapped) == 0) {
			memmove(a.bytes, a.bytes + 12, 4);
			memset(a.bytes + 4, 0, 12);
			a.len = 4;
			*ret_mapped = true;
		}
	} else {
		return -EINVAL;
	}
	*ret = a;
	return 0;
}

int address_parse(const char *text, struct address *ret)
{
	bool was_mapped;

	return parse_any(text, ret, &was_mapped);
}

/* The n bits from bit `from` on are zero. */
static bool rest_is_zero(const struct address *a, unsigned from)
{
	for (unsigned i = from; i < a->len * 8u; i++) {
		if ((a->bytes[i / 8] & (0x80u >> (i % 8))) != 0)
			return false;
	}
	return true;
}

int cidr_parse(const char *text, size_t len, struct cidr *ret, struct err *e)
{
	char copy[64], shown[128];
	char *slash;
	uint64_t bits;
	bool was_mapped;
	struct address a;

	str_escape(shown, sizeof shown, text, len);
	if (len == 0 || len >= sizeof copy || memchr(text, '\0', len))
		return err_set(e, -EINVAL, "\"%s\" is not an address or network", shown);
	memcpy(copy, text, len);
	copy[len] = '\0';
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (parse_any(copy, &a, &was_mapped) < 0)
		return err_set(e, -EINVAL, "\"%s\" is not an address or network", shown);
	bits = a.len * 8u;
	if (slash) {
		uint64_t max = was_mapped ? 128 : bits, min = was_mapped ? 96 : 0;

		if (str_to_u64(slash + 1, min, max, &bits) < 0)
			return err_set(e, -EINVAL, "\"%s\" has an impossible prefix length", shown);
		bits -= min;
	}
	if (!rest_is_zero(&a, (unsigned)bits))
		return err_set(e, -EINVAL, "\"%s\" has bits set behind its prefix", shown);
	ret->net = a;
	ret->bits = (uint8_t)bits;
	return 0;
}

int cidr_list_parse(const char *text, size_t len, struct cidr_list *ret, struct err *e)
{
	const char *p = text, *stop = text + len;
	struct cidr_list l = {.n = 0};

	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(stop - p));
		const char *next = comma ? comma : stop;
		int r;

		if (l.n == CIDR_LIST_MAX)
			return err_set(e, -EINVAL, "more than %d addresses", CIDR_LIST_MAX);
		r = cidr_parse(p, (size_t)(next - p), &l.item[l.n], e);
		if (r < 0)
			return r;
		l.n++;
		if (!comma)
			break;
		p = comma + 1;
	}
	*ret = l;
	return 0;
}

bool cidr_match(const struct cidr *c, const struct address *a)
{
	unsigned whole = c->bits / 8u, rest = c->bits % 8u;

	if (a->len != c->net.len || memcmp(a->bytes, c->net.bytes, whole) != 0)
		return false;
	return rest == 0 || (a->bytes[whole] ^ c->net.bytes[whole]) >> (8 - rest) == 0;
}

bool cidr_list_match(const struct cidr_list *l, const struct address *a)
{
	for (size_t i = 0; i < l->n; i++) {
		if (cidr_match(&l->item[i], a))
			return true;
	}
	return false;
}
