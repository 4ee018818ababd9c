#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "creds/vault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vault_header h;

	if (vault_header_parse(data, size, &h, NULL) == 0 &&
	    (h.log2_n > VAULT_LOG2_N_MAX || h.r > VAULT_R_MAX || h.p > VAULT_P_MAX))
		abort();
	return 0;
}
