/*
 * What template_parse.c, template_lists.c and template_narrow.c share. Nobody else includes this.
 */
#ifndef POSTERN_CORE_TEMPLATE_INTERNAL_H
#define POSTERN_CORE_TEMPLATE_INTERNAL_H

#include "broker/core/template.h"

/* A value of this template stands at parent[key], or parent[index]. */
void template_note(const struct yaml_doc *d, const json_t *parent, const char *key,
    struct template *t, unsigned k);
int template_parse_env(const struct yaml_doc *d, struct template *t, struct err *e);
int template_parse_entry(const struct yaml_doc *d, struct template *t, struct err *e);
int template_parse_mounts(const struct yaml_doc *d, struct template *t, struct err *e);
int template_parse_rules(const struct yaml_doc *d, struct template *t, struct err *e);
int template_parse_programs(const struct yaml_doc *d, struct template *t, struct err *e);

#endif
