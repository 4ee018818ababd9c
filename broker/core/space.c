#include "broker/core/space.h"

#include "broker/core/core.h"
#include "broker/core/handlers.h"
#include "broker/store/store.h"
#include "lib/log.h"

unsigned space_percent(uint64_t used, uint64_t whole)
{
	if (whole == 0)
		return 0;
	if (used >= whole)
		return 100;
	return (unsigned)(used <= UINT64_MAX / 100 ? used * 100 / whole : used / (whole / 100));
}

unsigned space_level(unsigned before, unsigned percent)
{
	unsigned now = percent >= SPACE_ALARM  ? SPACE_ALARM
	               : percent >= SPACE_WARN ? SPACE_WARN
	                                       : 0;

	return now < before && percent + SPACE_BACK >= before ? before : now;
}

static unsigned map_percent(const struct store_usage *u)
{
	return space_percent(u->map_used, u->map_size);
}

static unsigned disk_percent(const struct store_usage *u)
{
	return space_percent(u->disk_size - u->disk_free, u->disk_size);
}

static void one(struct core *c, const char *what, unsigned *level, unsigned percent)
{
	unsigned now = space_level(*level, percent);

	if (now > *level) {
		log_warn("%u %% of the %s is used", percent,
		    what[0] == 'm' ? "store's map" : "store's disk");
		(void)note(c, "log.space", NULL, NULL,
		    json_pack("{s:s, s:i, s:i}", "what", what, "percent", (int)percent, "level",
		        (int)now));
	}
	*level = now;
}

void space_look(struct core *c)
{
	struct store_usage u;

	if (!c->store || store_usage(c->store, &u) < 0)
		return;
	one(c, "map", &c->space.map, map_percent(&u));
	one(c, "disk", &c->space.disk, disk_percent(&u));
}

static void add(json_t *list, const char *what, unsigned percent)
{
	unsigned level = space_level(0, percent);

	if (level > 0)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:i, s:i}", "what", what, "percent", (int)percent,
		              "level", (int)level));
}

json_t *space_warnings(const struct store_usage *u)
{
	json_t *list = json_array();

	if (list) {
		add(list, "map", map_percent(u));
		add(list, "disk", disk_percent(u));
	}
	return list;
}
