#include "broker/core/budget.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/core/core.h"
#include "broker/core/grant.h"
#include "lib/clock.h"
#include "lib/str.h"

#define ESCAPED 6 /* \u0001 */

struct budget {
	struct budget *next;
	char tenant[NAME_MAX_LEN + 1];
	int64_t left, at_ns;
	uint64_t unsaid;
};

static struct budget *find(struct core *c, const char *tenant)
{
	struct budget *b = c->budgets;

	while (b && strcmp(b->tenant, tenant) != 0)
		b = b->next;
	if (b)
		return b;
	b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	(void)str_copy(b->tenant, sizeof b->tenant, tenant);
	b->left = BUDGET_BURST;
	b->at_ns = clock_mono_ns();
	b->next = c->budgets;
	c->budgets = b;
	return b;
}

static void refill(struct budget *b)
{
	const int64_t full_ns = BUDGET_BURST / BUDGET_RATE * NSEC_PER_SEC;
	int64_t now = clock_mono_ns(), passed = now - b->at_ns;

	if (passed > full_ns)
		passed = full_ns;
	b->at_ns = now;
	b->left += passed * BUDGET_RATE / NSEC_PER_SEC;
	if (b->left > BUDGET_BURST)
		b->left = BUDGET_BURST;
}

bool budget_take(struct core *c, const char *tenant, size_t bytes)
{
	struct budget *b = find(c, tenant ? tenant : "");

	if (!b)
		return false;
	refill(b);
	if (b->left < (int64_t)bytes) {
		b->unsaid++;
		return false;
	}
	b->left -= (int64_t)bytes;
	if (b->unsaid > 0 && b->left >= BUDGET_SMALL) {
		b->left -= BUDGET_SMALL;
		(void)note(c, "log.unsaid", tenant, NULL,
		    json_pack("{s:I}", "count", (json_int_t)b->unsaid));
		b->unsaid = 0;
	}
	return true;
}

/* As JSON writes it. */
static size_t written(const char *s)
{
	size_t n = 0;

	for (; s && *s && n < BODY_MAX; s++)
		n += (unsigned char)*s < ' ' ? ESCAPED : *s == '"' || *s == '\\' ? 2 : 1;
	return n;
}

size_t budget_cost(const struct grant *g, const char *text)
{
	size_t n = BUDGET_SMALL + written(g->person) + written(g->task) + written(text) +
	           written(g->force_command);

	return n < BODY_MAX ? n : BODY_MAX;
}

void budget_free(struct core *c)
{
	while (c->budgets) {
		struct budget *b = c->budgets;

		c->budgets = b->next;
		free(b);
	}
}
