/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "owner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-object.h"

/* More sockets than anybody deposits; the note's text could say anything. */
#define FDS_MAX 65536
#define MACHINE_LENGTH 16

static char *boot_id(void)
{
	char *text;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text,
		    NULL, NULL))
		return g_strdup("unknown");
	return g_strstrip(text);
}

/* When pid started, in clock ticks since boot; 0 where there is no such
 * process. The name in parentheses may hold anything: count from its end. */
static guint64 start_time(int pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
	g_autofree char *stat = NULL;
	g_auto(GStrv) fields = NULL;
	char *name_end;

	if (!g_file_get_contents(path, &stat, NULL, NULL))
		return 0;
	name_end = strrchr(stat, ')');
	if (!name_end)
		return 0;
	fields = g_strsplit(name_end + 1, " ", -1);
	/* "", state (3), ..., starttime (22) */
	if (g_strv_length(fields) < 21 || fields[1][0] == 'Z')
		return 0;
	return g_ascii_strtoull(fields[20], NULL, 10);
}

/* The id itself is not for others (machine-id(5)); a machine that was cloned
 * has at least another name. */
static char *machine_hash(void)
{
	g_autofree char *id = NULL;
	g_autofree char *all = NULL;
	g_autofree char *hash = NULL;

	if (!g_file_get_contents("/etc/machine-id", &id, NULL, NULL) ||
	    !g_strstrip(id)[0])
		return NULL;
	all = g_strjoin(" ", "fleecefs", id, g_get_host_name(), NULL);
	hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
	return g_strndup(hash, MACHINE_LENGTH);
}

Owner *owner_self(const char *session, const char *state)
{
	Owner *owner = g_new0(Owner, 1);

	owner->boot = boot_id();
	owner->machine = machine_hash();
	owner->pid = getpid();
	owner->start = start_time(owner->pid);
	owner->session = g_strdup(session);
	owner->state = g_strdup(state);
	return owner;
}

char *owner_new_session(void)
{
	guint32 number = 0;

	if (getrandom(&number, sizeof number, 0) != sizeof number)
		number = g_random_int();
	return g_strdup_printf("%08x", number);
}

void owner_free(Owner *owner)
{
	if (!owner)
		return;
	g_free(owner->boot);
	g_free(owner->state);
	g_free(owner->session);
	g_free(owner->agent);
	g_free(owner->machine);
	g_free(owner);
}

/* A path may hold anything, the note's own punctuation too. */
static char *escape(const char *path)
{
	return path ? g_uri_escape_string(path, "/", FALSE) : NULL;
}

/* NULL for what escape() never makes. */
static char *unescape(const char *text)
{
	g_autofree char *path = g_uri_unescape_string(text, NULL);
	g_autofree char *again = escape(path);

	return path && path[0] == '/' && g_str_equal(again, text) ?
		g_steal_pointer(&path) : NULL;
}

char *owner_to_text(const Owner *owner)
{
	g_autofree char *agent = escape(owner->agent);

	return g_strdup_printf("boot=%s;pid=%d;start=%" G_GUINT64_FORMAT
		";session=%s;server=%d;fds=%u;state=%s%s%s%s%s", owner->boot,
		owner->pid, owner->start, owner->session, owner->server,
		owner->fds, owner->state, agent ? ";agent=" : "",
		agent ? agent : "", owner->machine ? ";machine=" : "",
		owner->machine ? owner->machine : "");
}

static void set_text(char **field, const char *value)
{
	g_free(*field);
	*field = g_strdup(value);
}

static bool take_agent(Owner *owner, const char *value)
{
	g_free(owner->agent);
	owner->agent = unescape(value);
	return owner->agent;
}

/* False for a value that we never write: whose freeze it is that is thawed
 * must be beyond doubt. */
static bool take_field(Owner *owner, const char *key, const char *value)
{
	if (g_str_equal(key, "boot"))
		set_text(&owner->boot, value);
	else if (g_str_equal(key, "pid"))
		owner->pid = atoi(value);
	else if (g_str_equal(key, "start"))
		owner->start = g_ascii_strtoull(value, NULL, 10);
	else if (g_str_equal(key, "session"))
		set_text(&owner->session, value);
	else if (g_str_equal(key, "server"))
		owner->server = g_str_equal(value, "1");
	else if (g_str_equal(key, "fds"))
		owner->fds = MIN(g_ascii_strtoull(value, NULL, 10), FDS_MAX);
	else if (g_str_equal(key, "machine"))
		set_text(&owner->machine, value);
	else if (g_str_equal(key, "state"))
		set_text(&owner->state, value);
	else if (g_str_equal(key, "agent"))
		return take_agent(owner, value);
	return true;
}

Owner *owner_from_text(const char *text)
{
	g_autoptr(Owner) owner = g_new0(Owner, 1);
	g_auto(GStrv) fields = g_strsplit(text, ";", -1);

	for (char **field = fields; *field; field++) {
		char *equals = strchr(*field, '=');

		if (!equals)
			return NULL;
		*equals = '\0';
		if (!take_field(owner, *field, equals + 1))
			return NULL;
	}
	if (!owner->boot || !owner->session || !owner->state ||
	    owner->pid <= 0)
		return NULL;
	return g_steal_pointer(&owner);
}

bool owner_is_alive(const Owner *owner)
{
	g_autofree char *boot = boot_id();

	return g_str_equal(boot, owner->boot) && owner->start != 0 &&
		start_time(owner->pid) == owner->start;
}

bool owner_is_ours(const Owner *owner)
{
	g_autofree char *boot = boot_id();
	g_autofree char *machine = machine_hash();

	return g_str_equal(boot, owner->boot) ||
		(machine && g_strcmp0(machine, owner->machine) == 0);
}

/* A storage daemon in which nobody has made an object has no place for them
 * yet. */
static bool is_noted(QmpClient *client, bool *noted, GError **error)
{
	g_autoptr(GError) failure = NULL;
	bool place;

	if (qmp_qom_has(client, "/objects", OWNER_ID, noted, &failure))
		return true;
	*noted = false;
	if (g_error_matches(failure, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND) &&
	    qmp_qom_has(client, "/", "objects", &place, NULL) && !place)
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

Owner *owner_read(QmpClient *client, GError **error)
{
	g_autofree char *text = NULL;
	Owner *owner;
	bool there;

	if (!is_noted(client, &there, error) || !there)
		return NULL;
	text = qmp_qom_get_string(client, "/objects/" OWNER_ID, "identity",
		error);
	if (!text)
		return NULL;
	owner = owner_from_text(text);
	if (!owner)
		fleece_set_error(error, EBADMSG,
			"object " OWNER_ID " in QEMU is not ours: '%s'", text);
	return owner;
}

/* Nobody else has the session: what was refused may have been done. */
bool owner_claim(QmpClient *client, const Owner *owner, GError **error)
{
	g_autofree char *text = owner_to_text(owner);
	g_autoptr(GError) refusal = NULL;
	g_autoptr(Owner) there = NULL;

	if (qmp_object_add_note(client, OWNER_ID, text, &refusal))
		return true;
	if (qmp_error_is_refusal(refusal))
		there = owner_read(client, NULL);
	if (!there) {
		g_propagate_error(error, g_steal_pointer(&refusal));
		return false;
	}
	if (g_str_equal(there->session, owner->session))
		return true;
	fleece_set_error(error, EBUSY,
		"another fleecefs has a snapshot of it");
	return false;
}

bool owner_renew(QmpClient *client, const Owner *owner, GError **error)
{
	g_autofree char *text = owner_to_text(owner);

	return qmp_object_set_note(client, OWNER_ID, text, error);
}
