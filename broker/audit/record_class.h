/*
 * What each class of record is in OCSF 1.x (schema.ocsf.io), and what becomes of it when there is
 * no room.
 */
#ifndef POSTERN_AUDIT_RECORD_CLASS_H
#define POSTERN_AUDIT_RECORD_CLASS_H

#include <stdbool.h>

enum record_kind {
	RECORD_PLAIN,  /* may be coalesced when there are too many, refused when there is no room */
	RECORD_DENIAL, /* may be coalesced; written from the reserve */
	RECORD_END,    /* an end, or what the log says of itself: always written */
};

struct record_class {
	const char *name;
	int class_uid, activity_id; /* type_uid is class_uid * 100 + activity_id */
	enum record_kind kind;
	bool stranger; /* who is not let in makes such records as well */
};

/* Never NULL: what is not known is base event 0, activity 99 (other), RECORD_PLAIN. */
const struct record_class *record_class_find(const char *name);

#endif
