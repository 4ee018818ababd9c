/*
 * The logs of the store as sealing sees them (broker/core/seal.h). Its argument is the struct
 * store.
 */
#ifndef POSTERN_CORE_SEAL_STORE_H
#define POSTERN_CORE_SEAL_STORE_H

#include "broker/core/seal.h"

extern const struct seal_logs seal_store_logs;

#endif
