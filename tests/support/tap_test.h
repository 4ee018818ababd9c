/*
 * Taps for tests: the test back end of gateway/ssh/tap.h. One that turns letters to capitals, one
 * that holds everything until the end, one that doubles, one that ends the channel at a byte.
 */
#ifndef POSTERN_TESTS_TAP_TEST_H
#define POSTERN_TESTS_TAP_TEST_H

#include <stdint.h>

struct tap;

struct tap *tap_test_upper(void);
struct tap *tap_test_double(void);
struct tap *tap_test_hold(void);            /* at most TAP_HOLD_MAX, else -ENOBUFS */
struct tap *tap_test_stop_at(uint8_t byte); /* -EPERM "stopped" when it passes */
extern unsigned tap_test_alive;             /* taps made and not freed */

#endif
