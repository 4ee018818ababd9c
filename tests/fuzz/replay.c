/*
 * main() of a fuzz target in the ordinary tests: feeds it every file of its corpus, then inputs
 * derived from them by a fixed generator, and prints TAP. A crash or a sanitizer report ends the
 * program, which the runner counts. Run from the root of the project.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DERIVED        10000
#define INPUT_MAX      (256u * 1024)
#define FILES_MAX      4096
#define RANDOM_MAX_LEN 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *data;
	size_t len;
};

static struct input corpus[FILES_MAX];
static size_t ncorpus;
static uint64_t prng = 0x9e3779b97f4a7c15u;

/* xorshift64*: the same inputs in every run. */
static uint64_t next(void)
{
	prng ^= prng >> 12;
	prng ^= prng << 25;
	prng ^= prng >> 27;
	return prng * 0x2545f4914f6cdd1du;
}

static size_t below(size_t n)
{
	return n ? (size_t)(next() % n) : 0;
}

/* A copy of exactly its length, so that a read beyond the end is seen. */
static void feed(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	(void)LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static int add_file(const char *path)
{
	struct input in = {malloc(INPUT_MAX), 0};
	FILE *f = fopen(path, "re");

	if (!in.data || !f)
		return -1;
	in.len = fread(in.data, 1, INPUT_MAX, f);
	(void)fclose(f);
	corpus[ncorpus++] = in;
	return 0;
}

static int load(const char *dir)
{
	struct dirent **names = NULL;
	char path[4096];
	int n = scandir(dir, &names, NULL, alphasort);

	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && ncorpus < FILES_MAX) {
			(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
			if (add_file(path) < 0)
				n = -1;
		}
		free(names[i]);
	}
	free(names);
	return n < 0 ? -1 : 0;
}

/* Random bytes, a truncation, bit flips, or a piece of one file put into another. */
static size_t derive(uint8_t *out)
{
	const struct input *in = &corpus[below(ncorpus)], *other = &corpus[below(ncorpus)];
	size_t len = in->len;

	if (len > 0)
		memcpy(out, in->data, len);
	switch (below(4)) {
	case 0:
		len = below(RANDOM_MAX_LEN);
		for (size_t i = 0; i < len; i++)
			out[i] = (uint8_t)next();
		break;
	case 1:
		len = below(len + 1);
		break;
	case 2:
		for (size_t flips = 1 + below(8); flips > 0 && len > 0; flips--)
			out[below(len)] ^= (uint8_t)(1u << below(8));
		break;
	default:
		if (len > 0 && other->len > 0) {
			size_t at = below(len), from = below(other->len);
			size_t n = below(other->len - from + 1);

			if (n > INPUT_MAX - at)
				n = INPUT_MAX - at;
			memcpy(out + at, other->data + from, n);
			if (at + n > len)
				len = at + n;
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	static uint8_t out[INPUT_MAX];
	const char *name = strrchr(argv[0], '/');
	char dir[512];

	(void)argc;
	name = name ? name + 1 : argv[0];
	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	(void)snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", name);
	(void)printf("1..2\n");
	(void)fflush(stdout);
	if (load(dir) < 0 || ncorpus == 0) {
		(void)printf("not ok 1 - %s cannot be read or is empty: %s\nnot ok 2 - no inputs\n",
		    dir, strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < ncorpus; i++)
		feed(corpus[i].data, corpus[i].len);
	(void)printf("ok 1 - %s survives its corpus of %zu files\n", name, ncorpus);
	(void)fflush(stdout);
	for (int i = 0; i < DERIVED; i++)
		feed(out, derive(out));
	(void)printf("ok 2 - %s survives %d derived inputs\n", name, DERIVED);
	for (size_t i = 0; i < ncorpus; i++)
		free(corpus[i].data);
	return 0;
}
