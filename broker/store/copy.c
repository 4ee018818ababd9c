#include <errno.h>
#include <string.h>

#include "broker/store/store_internal.h"
#include "lib/err.h"

int store_copy(struct store *s, int fd, struct err *e)
{
	if (!s->env)
		return err_set(e, -EIO, "the store is not open");
	/* one read transaction: what is committed meanwhile is not in it, and grows the file */
	return store_error(s, mdb_env_copyfd2(s->env, fd, MDB_CP_COMPACT), "copy", e);
}
