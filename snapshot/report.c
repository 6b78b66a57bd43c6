/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <unistd.h>

#include <json-c/json.h>

#include "instant.h"
#include "snapshot-make.h"

/* These take the value and keep the text in one place: json-c's own names
 * are long. */
static void put(struct json_object *object, const char *key,
	struct json_object *value)
{
	json_object_object_add(object, key, value);
}

static void put_text(struct json_object *object, const char *key,
	const char *text)
{
	put(object, key, text ? json_object_new_string(text) : NULL);
}

static void put_number(struct json_object *object, const char *key,
	uint64_t number)
{
	put(object, key, json_object_new_uint64(number));
}

/* Three places: what is counted here is no finer. */
static void put_decimal(struct json_object *object, const char *key,
	double number)
{
	struct json_object *value = json_object_new_double(number);

	json_object_set_serializer(value, json_object_double_to_json_string,
		(void *)"%.3f", NULL);
	put(object, key, value);
}

/* A path in it may hold anything, JSON may not. */
static char *to_text(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	json_object_put(object);
	return g_strconcat(valid, "\n", NULL);
}

static void add_texts(struct json_object *array, const GPtrArray *texts)
{
	for (guint i = 0; i < texts->len; i++)
		json_object_array_add(array,
			json_object_new_string(texts->pdata[i]));
}

static struct json_object *warnings(const Fleece *fleece)
{
	struct json_object *array = json_object_new_array();
	const char *const *plan = fleece->plan.warnings;

	for (unsigned i = 0; plan[i]; i++)
		json_object_array_add(array, json_object_new_string(plan[i]));
	add_texts(array, fleece->warnings);
	return array;
}

static void put_method(struct json_object *object, const Fleece *fleece)
{
	const QemuPlan *plan = &fleece->plan;

	put_text(object, "qemu", fleece->qemu_version);
	put_text(object, "method", fleece->method);
	put_text(object, "method_reason", fleece->method_reason);
	put(object, "cbw_timeout", plan->cbw_timeout ?
		json_object_new_uint64(plan->cbw_timeout) : NULL);
	put_decimal(object, "pause_ms", fleece->pause_us / 1000.0);
	put(object, "frozen", fleece->is_frozen ?
		json_object_new_uint64(fleece->frozen) : NULL);
	put_decimal(object, "freeze_ms", fleece->freeze_us / 1000.0);
	put(object, "warnings", warnings(fleece));
}

/* null where there is no such instant. */
static void put_instant(struct json_object *object, const char *key, gint64 ms)
{
	g_autofree char *text = ms ? instant_to_text(ms) : NULL;

	put_text(object, key, text);
}

static void put_chain(struct json_object *object, const DiskChain *chain)
{
	put_text(object, "mode", chain->reason ? "full" : "incremental");
	put_text(object, "reason", chain->reason);
	put_instant(object, "base", chain->base_ms);
	put_instant(object, "content", chain->content_ms);
	put_text(object, "bitmap", chain->bitmap);
	put(object, "limited", json_object_new_boolean(chain->limited));
}

static struct json_object *disk_facts(const Snapshot *snapshot, unsigned index)
{
	const DiskView *disk = snapshot_disk(snapshot, index);
	struct json_object *object = json_object_new_object();

	put_text(object, "name", disk_view_name(disk));
	put_text(object, "id", disk_view_id(disk));
	put_number(object, "size", disk_view_size(disk));
	put_number(object, "allocated", disk_view_allocated(disk));
	put_chain(object, snapshot_chain(snapshot, index));
	put_number(object, "dirty", disk_view_dirty(disk));
	return object;
}

char *report_vm_json(const Snapshot *snapshot)
{
	struct json_object *object = json_object_new_object();
	struct json_object *disks = json_object_new_array();

	put_text(object, "vm", snapshot_vm(snapshot));
	put_text(object, "instant", snapshot_instant_text(snapshot));
	put_text(object, "chain", snapshot_chain(snapshot, 0)->chain);
	put_method(object, snapshot_fleece(snapshot));
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		json_object_array_add(disks, disk_facts(snapshot, i));
	put(object, "disks", disks);
	return to_text(object);
}

static struct json_object *disk_status(const Snapshot *snapshot,
	unsigned index)
{
	struct json_object *object = disk_facts(snapshot, index);
	DiskStats stats;

	disk_view_stats(snapshot_disk(snapshot, index), &stats);
	put_number(object, "read_bytes", stats.read);
	put_number(object, "freed_bytes", stats.freed);
	put_number(object, "scratch_bytes", stats.scratch);
	put_number(object, "failed_reads", stats.failed_reads);
	return object;
}

static void put_snapshot(struct json_object *object, Snapshot *snapshot)
{
	struct json_object *disks = json_object_new_array();
	g_autofree char *why = NULL;

	put_text(object, "state", snapshot_state_to_text(
		snapshot_get_state(snapshot, &why)));
	put_text(object, "why", why);
	put_text(object, "instant", snapshot_instant_text(snapshot));
	put_text(object, "chain", snapshot_chain(snapshot, 0)->chain);
	put(object, "committed", json_object_new_boolean(
		snapshot_is_committed(snapshot)));
	put_decimal(object, "age_s",
		(instant_now() - snapshot_instant(snapshot)) / 1000.0);
	put_method(object, snapshot_fleece(snapshot));
	put_number(object, "scratch_bytes", snapshot_scratch(snapshot));
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		json_object_array_add(disks, disk_status(snapshot, i));
	put(object, "disks", disks);
}

static struct json_object *vm_status(Vm *vm)
{
	struct json_object *object = json_object_new_object();
	g_autoptr(Snapshot) snapshot = vm_snapshot(vm);
	g_autofree char *error = vm_error(vm);

	put_text(object, "vm", vm_name(vm));
	if (snapshot)
		put_snapshot(object, snapshot);
	else
		put_text(object, "state", error ? "failed" : "available");
	put_text(object, "error", error);
	return object;
}

char *report_status_json(VmSet *set)
{
	struct json_object *object = json_object_new_object();
	struct json_object *array = json_object_new_array();
	struct json_object *unreachable = json_object_new_array();
	g_autoptr(GPtrArray) failures = NULL;
	g_autoptr(GPtrArray) vms = NULL;

	vm_set_refresh(set, NULL);
	vms = vm_set_list(set);
	failures = vm_set_unreachable(set);
	add_texts(unreachable, failures);
	put_text(object, "version", FLEECEFS_VERSION);
	put_number(object, "pid", getpid());
	put_text(object, "source", vm_set_spec(set));
	put(object, "unreachable", unreachable);
	for (guint i = 0; i < vms->len; i++)
		json_object_array_add(array, vm_status(vms->pdata[i]));
	put(object, "vms", array);
	return to_text(object);
}
