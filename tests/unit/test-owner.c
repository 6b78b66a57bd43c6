/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The note in QEMU that says whose fleece it is. */
#include "owner.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "scripted-qmp.h"

#define PATIENT_MS 20000

#define NOTE "boot=b;pid=12;start=34;session=0a1b2c3d;server=1;fds=6;state=live"

#define OTHER_NOTE "boot=b;pid=12;start=34;session=00000000;state=live"

/* --- text --- */

static void test_round_trip(void)
{
	Owner owner = { .boot = (char *)"0f-1e", .state = (char *)"stopped",
		.session = (char *)"0a1b2c3d", .pid = 4711,
		.start = G_MAXUINT64, .server = true, .fds = 12 };
	g_autofree char *text = owner_to_text(&owner);
	g_autoptr(Owner) back = owner_from_text(text);

	g_assert_cmpstr(text, ==, "boot=0f-1e;pid=4711;"
		"start=18446744073709551615;session=0a1b2c3d;server=1;fds=12;"
		"state=stopped");
	g_assert_nonnull(back);
	g_assert_cmpstr(back->boot, ==, "0f-1e");
	g_assert_cmpstr(back->state, ==, "stopped");
	g_assert_cmpstr(back->session, ==, "0a1b2c3d");
	g_assert_cmpint(back->pid, ==, 4711);
	g_assert_cmpuint(back->start, ==, G_MAXUINT64);
	g_assert_true(back->server);
	g_assert_cmpuint(back->fds, ==, 12);
}

/* Whatever a path may hold, and nothing that we do not write ourselves. */
static void test_agent(void)
{
	static const char *const paths[] = { "/a", "/run/vm/a b.agent",
		"/;state=live;=%00%", "/\xc3\xa9\xff\n\"\\" };
	static const char *const bad[] = { "", "a", "%2Fa", "/%", "/%zz",
		"/%00", "/%3b", "/a b", "/=", "/%41" };
	const char *const start = "boot=b;pid=1;session=s;state=frozen;agent=";

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autoptr(Owner) owner = owner_self("s", "frozen");
		g_autoptr(Owner) back = NULL;
		g_autofree char *text = NULL;

		owner->agent = g_strdup(paths[i]);
		text = owner_to_text(owner);
		g_assert_true(g_str_is_ascii(text));
		back = owner_from_text(text);
		g_assert_nonnull(back);
		g_assert_cmpstr(back->agent, ==, paths[i]);
		g_assert_cmpstr(back->state, ==, "frozen");
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = g_strconcat(start, bad[i], NULL);

		g_test_message("'%s'", text);
		g_assert_null(owner_from_text(text));
	}
}

/* A later version may say more, or less of what is not vital. */
static void test_unknown_and_missing_fields(void)
{
	g_autoptr(Owner) owner = owner_from_text(
		"new=x;boot=b;pid=1;session=s;state=live;more=");

	g_assert_nonnull(owner);
	g_assert_cmpstr(owner->session, ==, "s");
	g_assert_false(owner->server);
	g_assert_cmpuint(owner->fds, ==, 0);
	g_assert_cmpuint(owner->start, ==, 0);
}

static void test_garbage(void)
{
	static const char *const texts[] = {
		"", ";", "=", "fleecefs", "boot", "boot=b", "pid=1",
		"boot=b;pid=1;session=s", "boot=b;pid=1;state=live",
		"boot=b;session=s;state=live", "pid=1;session=s;state=live",
		"boot=b;pid=0;session=s;state=live",
		"boot=b;pid=-1;session=s;state=live",
		"boot=b;pid=x;session=s;state=live",
		"boot=b;pid=1;session=s;state=live;",
		"boot=b;pid=1;session=s;state=live;more",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_test_message("'%s'", texts[i]);
		g_assert_null(owner_from_text(texts[i]));
	}
}

/* --- alive or dead --- */

static void test_we_are_alive(void)
{
	g_autoptr(Owner) owner = owner_self("s", "live");
	g_autofree char *text = owner_to_text(owner);
	g_autoptr(Owner) back = owner_from_text(text);

	g_assert_cmpint(owner->pid, ==, getpid());
	g_assert_cmpuint(owner->start, !=, 0);
	g_assert_true(owner_is_alive(owner));
	g_assert_true(owner_is_alive(back));
}

static void test_other_boot(void)
{
	g_autoptr(Owner) owner = owner_self("s", "live");

	owner->boot[0] ^= 1;
	g_assert_false(owner_is_alive(owner));
}

/* What was of this machine before it was started again is dead; of another
 * nobody knows. */
static void test_whose_machine(void)
{
	g_autoptr(Owner) owner = owner_self("s", "live");
	g_autofree char *text = owner_to_text(owner);
	g_autoptr(Owner) back = owner_from_text(text);

	g_assert_true(owner_is_ours(back));
	back->boot[0] ^= 1;
	g_assert_true(owner_is_ours(back) == !!owner->machine);
	g_clear_pointer(&back->machine, g_free);
	g_assert_false(owner_is_ours(back));
	back->machine = g_strdup("0123456789abcdef");
	g_assert_false(owner_is_ours(back));
}

/* The pid was given to another process since. */
static void test_wrong_start(void)
{
	g_autoptr(Owner) owner = owner_self("s", "live");

	owner->start++;
	g_assert_false(owner_is_alive(owner));
	owner->start = 0;
	g_assert_false(owner_is_alive(owner));
}

/* A process whose name tries to be the fields of /proc/PID/stat. */
static _Noreturn void be_owner(int out)
{
	g_autoptr(Owner) owner = NULL;
	g_autofree char *text = NULL;

	prctl(PR_SET_NAME, "x) Z 1 (y) Z");
	owner = owner_self("child", "live");
	text = owner_to_text(owner);
	if (write(out, text, strlen(text)) < 0)
		_exit(1);
	close(out);
	for (;;)
		pause();
}

static char *read_all(int fd)
{
	g_autoptr(GString) text = g_string_new(NULL);
	char bytes[256];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		g_string_append_len(text, bytes, n);
	g_assert_cmpint(n, ==, 0);
	return g_strdup(text->str);
}

static void test_child(void)
{
	g_autoptr(Owner) owner = NULL;
	g_autofree char *text = NULL;
	siginfo_t info;
	int pipe_fds[2];
	pid_t child;

	g_assert_cmpint(pipe(pipe_fds), ==, 0);
	child = fork();
	g_assert_cmpint(child, >=, 0);
	if (child == 0)
		be_owner(pipe_fds[1]);
	close(pipe_fds[1]);
	text = read_all(pipe_fds[0]);
	close(pipe_fds[0]);
	owner = owner_from_text(text);
	g_assert_nonnull(owner);
	g_assert_cmpint(owner->pid, ==, child);
	g_assert_true(owner_is_alive(owner));
	g_assert_cmpint(kill(child, SIGKILL), ==, 0);
	/* a zombie does nothing any more */
	g_assert_cmpint(waitid(P_PID, child, &info, WEXITED | WNOWAIT), ==, 0);
	g_assert_false(owner_is_alive(owner));
	g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
	g_assert_false(owner_is_alive(owner));
	/* the start of nobody is no start */
	owner->start = 0;
	g_assert_false(owner_is_alive(owner));
}

/* --- in QEMU --- */

#define LIST(names)                                                            \
	{ "qom-list", "{\"path\": \"/objects\"}", RETURN("[" names "]") }
#define OTHER_OBJECT "{\"name\": \"secret0\", \"type\": \"child<secret>\"}"
#define OWNER_OBJECT                                                           \
	OTHER_OBJECT ", {\"name\": \"fleecefs-owner\", "                       \
	"\"type\": \"child<authz-simple>\"}"
#define IDENTITY(text)                                                         \
	{ "qom-get", "{\"path\": \"/objects/fleecefs-owner\", "                \
	  "\"property\": \"identity\"}", RETURN("\"" text "\"") }

typedef struct {
	ScriptedQmp *peer;
	QmpClient *client;
} Monitor;

static Monitor monitor(const ScriptedStep *steps, size_t n)
{
	ScriptedQmp *peer = scripted_qmp_new(NULL, steps, n);
	QmpClient *client = qmp_client_connect(scripted_qmp_path(peer),
		PATIENT_MS, NULL);

	g_assert_nonnull(client);
	return (Monitor){ peer, client };
}

static void monitor_clear(Monitor *m)
{
	g_clear_pointer(&m->client, qmp_client_free);
	g_clear_pointer(&m->peer, scripted_qmp_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Monitor, monitor_clear)

#define MONITOR(steps) monitor(steps, G_N_ELEMENTS(steps))

static void test_read(void)
{
	static const ScriptedStep steps[] = {
		LIST(OTHER_OBJECT), LIST(OWNER_OBJECT), IDENTITY(NOTE),
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(GError) error = NULL;
	g_autoptr(Owner) owner = NULL;

	g_assert_null(owner_read(m.client, &error));
	g_assert_no_error(error);
	owner = owner_read(m.client, &error);
	g_assert_no_error(error);
	g_assert_cmpint(owner->pid, ==, 12);
	g_assert_cmpuint(owner->fds, ==, 6);
}

/* A storage daemon has no place for objects before the first; whoever else
 * says so is not believed. */
static void test_read_without_objects(void)
{
	static const ScriptedStep steps[] = {
		{ "qom-list", NULL, REFUSE("DeviceNotFound", "no place") },
		{ "qom-list", "{\"path\": \"/\"}", RETURN("[]") },
		{ "qom-list", NULL, REFUSE("DeviceNotFound", "no place") },
		{ "qom-list", NULL, RETURN("[{\"name\": \"objects\", "
			"\"type\": \"child<container>\"}]") },
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(GError) error = NULL;

	g_assert_null(owner_read(m.client, &error));
	g_assert_no_error(error);
	g_assert_null(owner_read(m.client, &error));
	g_assert_error(error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND);
}

static void test_read_of_a_stranger(void)
{
	static const ScriptedStep steps[] = {
		LIST(OWNER_OBJECT), IDENTITY("somebody"),
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(GError) error = NULL;

	g_assert_null(owner_read(m.client, &error));
	g_assert_error(error, FLEECE_ERROR, EBADMSG);
	g_assert_nonnull(strstr(error->message, "'somebody'"));
}

static void test_claim(void)
{
	static const ScriptedStep steps[] = {
		{ "object-add", "{\"qom-type\": \"authz-simple\", "
			"\"id\": \"fleecefs-owner\", \"identity\": \"" NOTE
			"\"}", RETURN("{}") },
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(Owner) owner = owner_from_text(NOTE);
	g_autoptr(GError) error = NULL;

	owner_claim(m.client, owner, &error);
	g_assert_no_error(error);
}

static void test_claim_of_what_is_taken(void)
{
	static const ScriptedStep steps[] = {
		{ "object-add", NULL, REFUSE("GenericError",
			"attempt to add duplicate property") },
		LIST(OWNER_OBJECT), IDENTITY(OTHER_NOTE),
		{ "object-add", NULL, REFUSE("GenericError",
			"invalid object type: authz-simple") },
		LIST(OTHER_OBJECT),
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(Owner) owner = owner_from_text(NOTE);
	g_autoptr(GError) busy = NULL;
	g_autoptr(GError) failed = NULL;

	g_assert_false(owner_claim(m.client, owner, &busy));
	g_assert_error(busy, FLEECE_ERROR, EBUSY);
	g_assert_false(owner_claim(m.client, owner, &failed));
	g_assert_error(failed, QMP_ERROR, QMP_ERROR_GENERIC);
	g_assert_nonnull(strstr(failed->message, "invalid object type"));
}

/* What is refused has gone in all the same. */
static void test_claim_that_was_refused(void)
{
	static const ScriptedStep steps[] = {
		{ "object-add", NULL, REFUSE("GenericError", "not now") },
		LIST(OWNER_OBJECT), IDENTITY(NOTE),
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(Owner) owner = owner_from_text(NOTE);
	g_autoptr(GError) error = NULL;

	owner_claim(m.client, owner, &error);
	g_assert_no_error(error);
}

static void test_renew(void)
{
	static const ScriptedStep steps[] = {
		{ "qom-set", "{\"path\": \"/objects/fleecefs-owner\", "
			"\"property\": \"identity\", \"value\": \"" NOTE
			"\"}", RETURN("{}") },
	};
	g_auto(Monitor) m = MONITOR(steps);
	g_autoptr(Owner) owner = owner_from_text(NOTE);

	g_assert_true(owner_renew(m.client, owner, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/owner/text/round-trip", test_round_trip);
	g_test_add_func("/owner/text/unknown", test_unknown_and_missing_fields);
	g_test_add_func("/owner/text/agent", test_agent);
	g_test_add_func("/owner/text/garbage", test_garbage);
	g_test_add_func("/owner/alive/self", test_we_are_alive);
	g_test_add_func("/owner/alive/other-boot", test_other_boot);
	g_test_add_func("/owner/machine", test_whose_machine);
	g_test_add_func("/owner/alive/wrong-start", test_wrong_start);
	g_test_add_func("/owner/alive/child", test_child);
	g_test_add_func("/owner/qemu/read", test_read);
	g_test_add_func("/owner/qemu/no-objects", test_read_without_objects);
	g_test_add_func("/owner/qemu/stranger", test_read_of_a_stranger);
	g_test_add_func("/owner/qemu/claim", test_claim);
	g_test_add_func("/owner/qemu/taken", test_claim_of_what_is_taken);
	g_test_add_func("/owner/qemu/refused", test_claim_that_was_refused);
	g_test_add_func("/owner/qemu/renew", test_renew);
	return g_test_run();
}
