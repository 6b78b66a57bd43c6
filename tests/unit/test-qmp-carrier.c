/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A QMP connection that somebody else holds. */
#include "qmp-client.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-fd.h"
#include "qmp-object.h"

#define VERSION "{\"return\": {\"qemu\": {\"major\": 7, \"minor\": 2, " \
	"\"micro\": 22}, \"package\": \"Debian\"}, \"id\": \"theirs\"}"
#define REFUSED "{\"error\": {\"class\": \"DeviceNotFound\", " \
	"\"desc\": \"no such thing\"}}"
#define TIMEOUT_MS 4711

/* What it is told, and what it answers. */
typedef struct {
	const char *replies[4]; /* NULL: it fails */
	unsigned n;
	GString *log;
	int freed;
} Carrier;

static char *run(void *opaque, const char *command, const char *message,
	int fd, unsigned timeout_ms, GError **error)
{
	Carrier *carrier = opaque;
	const char *reply = carrier->replies[carrier->n++];

	g_assert_cmpuint(timeout_ms, ==, TIMEOUT_MS);
	g_assert_null(strchr(message, '\n'));
	g_string_append_printf(carrier->log, "%s %s %d\n", command, message,
		fd);
	if (!reply)
		fleece_set_error(error, ETIMEDOUT, "they are busy");
	return g_strdup(reply);
}

static void freed(void *opaque)
{
	Carrier *carrier = opaque;

	carrier->freed++;
}

static const QmpCarrier by_hand = { run, freed };

static void set_up(Carrier *carrier, gconstpointer unused)
{
	carrier->log = g_string_new(NULL);
	carrier->replies[0] = VERSION;
}

static void tear_down(Carrier *carrier, gconstpointer unused)
{
	g_assert_cmpint(carrier->freed, ==, 1);
	g_string_free(carrier->log, TRUE);
}

static QmpClient *connect_over(Carrier *carrier)
{
	g_autoptr(GError) error = NULL;
	QmpClient *client = qmp_client_over(&by_hand, carrier, TIMEOUT_MS,
		&error);

	g_assert_no_error(error);
	g_assert_cmpstr(carrier->log->str, ==,
		"query-version {\"execute\":\"query-version\"} -1\n");
	g_string_truncate(carrier->log, 0);
	return client;
}

/* The messages have no id, and descriptors go along. */
static void test_commands(Carrier *carrier, gconstpointer unused)
{
	g_autoptr(QmpClient) client = connect_over(carrier);
	g_autoptr(GError) error = NULL;
	unsigned major, minor, micro;

	qmp_client_version(client, &major, &minor, &micro);
	g_assert_cmpuint(major * 10000 + minor * 100 + micro, ==, 70222);
	g_assert_cmpstr(qmp_client_version_text(client), ==,
		"7.2.22 (Debian)");
	carrier->replies[1] = "{\"return\": {}}";
	g_assert_true(qmp_getfd(client, 5, "fl-n0", &error));
	g_assert_no_error(error);
	g_assert_cmpstr(carrier->log->str, ==, "getfd {\"execute\":\"getfd\","
		"\"arguments\":{\"fdname\":\"fl-n0\"}} 5\n");
}

/* What QEMU refuses does not end the connection; what is not answered, or is
 * no answer, does. */
static void test_failures(Carrier *carrier, gconstpointer bad)
{
	g_autoptr(QmpClient) client = connect_over(carrier);
	int code = bad ? EPROTO : ETIMEDOUT;
	g_autoptr(GError) error = NULL;

	carrier->replies[1] = REFUSED;
	carrier->replies[2] = bad;
	g_assert_false(qmp_cont(client, &error));
	g_assert_error(error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND);
	g_clear_error(&error);
	g_assert_false(qmp_stop(client, &error));
	g_assert_error(error, FLEECE_ERROR, code);
	g_assert_true(bad || g_str_equal(error->message,
		"stop: they are busy"));
	g_clear_error(&error);
	g_assert_false(qmp_cont(client, &error));
	g_assert_error(error, FLEECE_ERROR, ECONNRESET);
	g_assert_cmpuint(carrier->n, ==, 3);
}

static void test_no_version(Carrier *carrier, gconstpointer bad)
{
	g_autoptr(GError) error = NULL;

	carrier->replies[0] = bad;
	g_assert_null(qmp_client_over(&by_hand, carrier, TIMEOUT_MS, &error));
	g_assert_nonnull(error);
}

static void add_test(const char *path, const char *bad,
	void (*test)(Carrier *, gconstpointer))
{
	g_test_add(path, Carrier, bad, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add_test("/qmp-carrier/commands", NULL, test_commands);
	add_test("/qmp-carrier/silent", NULL, test_failures);
	add_test("/qmp-carrier/empty", "", test_failures);
	add_test("/qmp-carrier/cut-off", "{\"return\": ", test_failures);
	add_test("/qmp-carrier/garbage", "no JSON", test_failures);
	add_test("/qmp-carrier/no-version/silent", NULL, test_no_version);
	add_test("/qmp-carrier/no-version/refused", REFUSED, test_no_version);
	add_test("/qmp-carrier/no-version/nothing", "{\"return\": {}}",
		test_no_version);
	return g_test_run();
}
