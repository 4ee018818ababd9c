#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/spawn/vm_image.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/util.h"

/* sha256sum */
#define OF_X "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

static int file_of(const char *text)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void it_is_the_files_digest(void **state)
{
	struct vm_image m = VM_IMAGE_NONE;
	struct err e = ERR_INIT;
	int fd = file_of("x");

	(void)state;
	assert_int_equal(vm_image_digest(&m, fd, &e), 0);
	assert_string_equal(m.digest, OF_X);
	assert_int_equal(m.reader, -1);
	(void)close(fd);
}

static void another_file_is_read_anew_and_the_same_one_is_not(void **state)
{
	struct vm_image m = VM_IMAGE_NONE;
	struct err e = ERR_INIT;
	int x = file_of("x"), y = file_of("y");
	char was[sizeof m.digest];

	(void)state;
	assert_int_equal(vm_image_digest(&m, x, &e), 0);
	assert_int_equal(vm_image_begin(&m, x, &e), 0);
	assert_int_equal(m.reader, -1);
	memcpy(was, m.digest, sizeof was);
	assert_int_equal(vm_image_begin(&m, y, &e), 0);
	assert_true(m.reader >= 0);
	assert_int_equal(vm_image_digest(&m, y, &e), 0);
	assert_string_not_equal(m.digest, was);
	assert_int_equal(ftruncate(y, 0), 0);
	assert_int_equal(pwrite(y, "x", 1, 0), 1);
	assert_int_equal(vm_image_digest(&m, y, &e), 0);
	assert_string_equal(m.digest, OF_X);
	(void)close(x);
	(void)close(y);
}

/* A file of a terabyte: to begin takes no time, and a session does not wait for its end. */
static void nobody_waits_for_a_large_one(void **state)
{
	struct vm_image m = VM_IMAGE_NONE;
	struct err e = ERR_INIT;
	int fd = file_of("x");
	int64_t begun = clock_mono_ns();

	(void)state;
	assert_int_equal(ftruncate(fd, INT64_C(1) << 40), 0);
	assert_int_equal(vm_image_begin(&m, fd, &e), 0);
	assert_true(clock_mono_ns() - begun < NSEC_PER_SEC);
	assert_int_equal(vm_image_digest(&m, fd, &e), -EAGAIN);
	assert_true(m.reader >= 0);
	vm_image_stop(&m);
	assert_int_equal(m.reader, -1);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_the_files_digest),
	    cmocka_unit_test(another_file_is_read_anew_and_the_same_one_is_not),
	    cmocka_unit_test(nobody_waits_for_a_large_one),
	};

	return cmocka_run_group_tests_name("vm_image", tests, NULL, NULL);
}
