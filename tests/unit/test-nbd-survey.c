/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NbdSurvey, and what of NbdExport is for servers that others run. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "nbd-fixture.h"

static NbdServer server_of(const NbdFixture *f, const char *export, char **uri)
{
	*uri = g_strdup_printf("nbd+unix:///%s?socket=%s", export, f->socket);
	return (NbdServer){ .uri = *uri, .timeout_ms = 10000 };
}

static NbdSurvey *survey(const NbdFixture *f, const char *export)
{
	g_autofree char *uri = NULL;
	NbdServer server = server_of(f, export, &uri);
	g_autoptr(GError) error = NULL;
	NbdSurvey *survey = nbd_survey_new(&server, &error);

	g_assert_no_error(error);
	return survey;
}

static NbdExportFacts *ask(NbdSurvey *survey, const char *name)
{
	g_autoptr(GError) error = NULL;
	NbdExportFacts *facts = nbd_survey_ask(survey, name, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(facts->name, ==, name);
	return facts;
}

static void serve_several(NbdFixture *f)
{
	nbd_fixture_serve_script(f,
		"list_exports) printf 'NAMES\\nvda\\na b%%/c\\n\\nvda\\n';;\n"
		"open) [ \"$3\" != none ] || exit 1; echo \"$3\";;\n"
		"pread) head -c $3 /dev/zero;;\n");
}

/* What one export is not does not end the survey. */
static void test_list(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	g_autoptr(NbdSurvey) s = NULL;
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GError) error = NULL;

	serve_several(f);
	s = survey(f, "");
	g_assert_cmpstr(nbd_survey_named(s), ==, "");
	names = nbd_survey_list(s, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(names->len, ==, 3);
	g_assert_cmpstr(names->pdata[0], ==, "vda");
	g_assert_cmpstr(names->pdata[1], ==, "a b%/c");
	g_assert_cmpstr(names->pdata[2], ==, "");
	for (guint i = 0; i < names->len; i++) {
		g_autoptr(NbdExportFacts) facts = ask(s, names->pdata[i]);

		g_assert_cmpuint(facts->size, ==, MIB);
	}
	g_assert_null(nbd_survey_ask(s, "none", &error));
	g_assert_nonnull(error);
	nbd_export_facts_free(ask(s, "vda"));
}

static void test_named(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	g_autoptr(NbdSurvey) s = NULL;

	serve_several(f);
	s = survey(f, "a%20b%25%2Fc");
	g_assert_cmpstr(nbd_survey_named(s), ==, "a b%/c");
}

static const struct {
	const char *command;
	bool allocation, trim, share;
	unsigned minimum, maximum;
} servers[] = {
	{ "nbdkit -f -U $socket memory 1M", true, true, true, 1, 0 },
	{ "nbdkit -f -r -U $socket memory 1M", true, false, true, 1, 0 },
	{ "nbdkit -f --no-sr -U $socket memory 1M", false, true, true, 1, 0 },
	{ "nbdkit -f -U $socket --filter=multi-conn memory 1M "
	  "multi-conn-mode=disable", true, true, false, 1, 0 },
	{ "nbdkit -f -U $socket --filter=blocksize-policy memory 1M "
	  "blocksize-minimum=4096 blocksize-maximum=65536", true, true, true,
	  4096, 65536 },
	{ "qemu-nbd -t -f raw -k $socket $dir/image", true, true, false, 1,
	  32 * MIB },
};

/* nbdkit says nothing where it has no limit, or, since 1.42, all that fits. */
static unsigned limit_of(const NbdExportFacts *facts)
{
	return facts->maximum == UINT32_MAX ? 0 : facts->maximum;
}

static void test_facts(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	g_autofree char *image = g_build_filename(f->dir, "image", NULL);
	g_autofree char *zeros = g_malloc0(MIB);

	g_assert_true(g_file_set_contents(image, zeros, MIB, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(servers); i++) {
		g_autoptr(NbdSurvey) s = NULL;
		g_autoptr(NbdExportFacts) facts = NULL;

		nbd_fixture_serve(f, servers[i].command);
		s = survey(f, "");
		facts = ask(s, "");
		g_assert_cmpuint(facts->size, ==, MIB);
		g_assert_cmpuint(facts->bitmaps->len, ==, 0);
		g_assert_cmpint(facts->tells_allocation, ==,
			servers[i].allocation);
		g_assert_cmpint(facts->can_trim, ==, servers[i].trim);
		g_assert_cmpint(facts->can_share, ==, servers[i].share);
		g_assert_cmpuint(facts->minimum, ==, servers[i].minimum);
		g_assert_cmpuint(limit_of(facts), ==, servers[i].maximum);
		nbd_fixture_kill_server(f);
		unlink(f->socket);
	}
}

static void test_odd_block_size(NbdFixture *f,
	gconstpointer unused G_GNUC_UNUSED)
{
	g_autoptr(NbdSurvey) s = NULL;
	g_autoptr(GError) error = NULL;

	nbd_fixture_serve(f, "nbdkit -f -U $socket --filter=blocksize-policy "
		"memory 1000000 blocksize-minimum=4096");
	s = survey(f, "");
	g_assert_null(nbd_survey_ask(s, "", &error));
	g_assert_error(error, FLEECE_ERROR, EOPNOTSUPP);
	g_assert_nonnull(strstr(error->message, "1000000"));
}

static void assert_no_survey(const char *uri, int code)
{
	NbdServer server = { .uri = uri, .timeout_ms = 200 };
	g_autoptr(GError) error = NULL;

	g_assert_null(nbd_survey_new(&server, &error));
	if (code)
		g_assert_error(error, FLEECE_ERROR, code);
	g_assert_nonnull(error);
}

static void test_bad_uri(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	g_autofree char *nobody = g_strdup_printf("nbd+unix:///?socket=%s",
		f->socket);

	assert_no_survey("nbd+unix:///", EINVAL);
	assert_no_survey("nbd+unix://%zz", EINVAL);
	assert_no_survey("ftp://localhost/", EINVAL);
	assert_no_survey(nobody, ENOENT);
}

/* It listens and says nothing. */
static void test_silence(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	g_autofree char *uri = g_strdup_printf("nbd+unix:///?socket=%s",
		f->socket);

	g_strlcpy(address.sun_path, f->socket, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address,
		sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fd, 1), ==, 0);
	assert_no_survey(uri, ETIMEDOUT);
}

static const char *const no_contexts[] = { NULL };

static NbdExport *open_blocks(NbdFixture *f, unsigned block, unsigned piece)
{
	g_autofree char *uri = NULL;
	NbdServer server = server_of(f, "", &uri);
	NbdExportConfig config = { .name = "", .size = MIB,
		.timeout_ms = 10000, .read_timeout_ms = 10000,
		.block = block, .piece = piece };
	g_autoptr(GError) error = NULL;
	NbdExport *export = nbd_export_new(f->loop, &config);

	nbd_export_connect_server(export, &server, no_contexts, &error);
	g_assert_no_error(error);
	return export;
}

/* nbdkit's pattern plugin: each eight bytes are their offset, big-endian. */
static void assert_pattern(NbdExport *export, uint64_t offset, size_t length)
{
	NbdBatch batch;
	NbdBatchRequest request = { 0 };

	nbd_batch_init(&batch);
	nbd_batch_read(export, &batch, &request, offset, length);
	nbd_batch_wait(&batch);
	nbd_batch_clear(&batch);
	g_assert_cmpint(request.error, ==, 0);
	for (size_t i = 0; i < length; i++) {
		uint64_t at = offset + i;

		g_assert_cmpuint(request.buffer[i], ==,
			(at & ~UINT64_C(7)) >> (8 * (7 - (at & 7))) & 0xff);
	}
	g_free(request.buffer);
}

/* The server refuses whatever is no multiple of 4096, or larger than 64 KiB.
 */
static void test_blocks(NbdFixture *f, gconstpointer unused G_GNUC_UNUSED)
{
	nbd_fixture_serve(f, "nbdkit -f -U $socket --filter=blocksize-policy "
		"pattern 1M blocksize-minimum=4096 blocksize-maximum=65536 "
		"blocksize-error-policy=error");
	/* the control: it does refuse */
	f->export = open_blocks(f, 0, 0);
	g_assert_cmpint(nbd_fixture_read(f->export, 1, 1), ==, EINVAL);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 131072), !=, 0);
	g_clear_pointer(&f->export, nbd_export_free);

	f->export = open_blocks(f, 4096, 65536);
	assert_pattern(f->export, 0, 1);
	assert_pattern(f->export, 4095, 2);
	assert_pattern(f->export, MIB - 1, 1);
	assert_pattern(f->export, 4096, 8192);
	assert_pattern(f->export, 1, MIB - 2);
	assert_pattern(f->export, 0, MIB);
	g_assert_cmpint(nbd_export_probe(f->export, 12345), ==, 0);
	nbd_fixture_kill_server(f);
	g_assert_cmpint(nbd_export_probe(f->export, 0), ==, EIO);
}

#define ADD(name) g_test_add("/nbd-survey/" #name, NbdFixture, NULL, \
	nbd_fixture_set_up, test_ ## name, nbd_fixture_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD(list);
	ADD(named);
	ADD(facts);
	ADD(odd_block_size);
	ADD(bad_uri);
	ADD(silence);
	ADD(blocks);
	return g_test_run();
}
