#include "broker/init/claim.h"

#include <fcntl.h>
#include <unistd.h>

bool claim_take(size_t len, const int *fds, size_t nfds, int at)
{
	return len == CLAIM_LEN && nfds == 1 && dup3(fds[0], at, O_CLOEXEC) == at;
}
