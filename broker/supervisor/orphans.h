/* What our children left behind: as their subreaper we inherit it, and end it before we end
 * ourselves. */
#ifndef POSTERN_SUPERVISOR_ORPHANS_H
#define POSTERN_SUPERVISOR_ORPHANS_H

/* Kills and reaps every child that is left, for at most two seconds. */
void orphans_end(void);

#endif
