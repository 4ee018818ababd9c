/*
 * What is behind struct yaml_doc, shared by lib/yaml.c (which fills it) and lib/yaml_doc.c (which
 * answers questions). Nobody else includes this. Must not know libyaml.
 */
#ifndef POSTERN_LIB_YAML_DOC_H
#define POSTERN_LIB_YAML_DOC_H

#include <jansson.h>
#include <stddef.h>

/* Where the value under key, or at index, of parent stands. */
struct yaml_place {
	const json_t *parent;
	char *key; /* NULL: an element of a sequence */
	size_t index;
	unsigned line, key_line;
};

struct yaml_doc {
	char *name;
	json_t *root;
	struct yaml_place *places;
	size_t nplaces, cap;
};

struct yaml_doc *yaml_doc_new(const char *name); /* with a null root; NULL without memory */
int yaml_doc_note(struct yaml_doc *d, const json_t *parent, const char *key, size_t index,
    unsigned line, unsigned key_line);

#endif
