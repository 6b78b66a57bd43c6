/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status-table.h"

#include "human.h"
#include "table.h"

/* The rows of a VM, of a disk, and of a remark on either. */
typedef struct {
	Table *table;
	TableShape vm, disk, remark;
} View;

static char *size_of(json_object *object, const char *key)
{
	uint64_t bytes;

	return status_count(object, key, &bytes) ? human_size(bytes) : NULL;
}

static char *age_of(json_object *vm)
{
	double seconds;

	return status_number(vm, "age_s", &seconds) ? human_age(seconds) : NULL;
}

static char *pause_of(json_object *vm)
{
	double ms;

	return status_number(vm, "pause_ms", &ms) ?
		g_strdup_printf("%.1f ms", ms) :
		NULL;
}

static void add_remark(View *view, const char *what, const char *text)
{
	g_autofree char *line = NULL;

	if (!text)
		return;
	line = g_strdup_printf("%s: %s", what, text);
	table_add(view->table, &view->remark, (const char *[]){ line });
}

static void add_failed_reads(View *view, json_object *disk)
{
	g_autofree char *text = NULL;
	const char *name = status_text(disk, "name");
	uint64_t failed = 0;

	if (!status_count(disk, "failed_reads", &failed) || failed == 0)
		return;
	text = g_strdup_printf("%" G_GUINT64_FORMAT " of disk %s", failed,
		name ? name : "-");
	add_remark(view, "failed reads", text);
}

static void add_disk(View *view, json_object *disk)
{
	const char *base = status_text(disk, "base");
	g_autofree char *size = size_of(disk, "size");
	g_autofree char *dirty = size_of(disk, "dirty");
	g_autofree char *read = size_of(disk, "read_bytes");
	g_autofree char *freed = size_of(disk, "freed_bytes");
	g_autofree char *scratch = size_of(disk, "scratch_bytes");

	table_add(view->table, &view->disk, (const char *[]){
		status_text(disk, "name"), status_text(disk, "mode"),
		base ? base : status_text(disk, "reason"), size, dirty, read,
		freed, scratch });
	add_failed_reads(view, disk);
}

static void add_chain(View *view, json_object *vm)
{
	const char *chain = status_text(vm, "chain");
	g_autofree char *text = NULL;
	bool committed;

	if (chain && status_bool(vm, "committed", &committed))
		text = g_strconcat(chain, committed ? ", committed" :
			", not committed", NULL);
	add_remark(view, "chain", text ? text : chain);
}

static void add_vm(View *view, json_object *vm)
{
	json_object *disks = status_array(vm, "disks");
	g_autofree char *age = age_of(vm);
	g_autofree char *pause = pause_of(vm);

	table_add(view->table, &view->vm, (const char *[]){
		status_text(vm, "vm"), status_text(vm, "state"),
		status_text(vm, "instant"), age, status_text(vm, "method"),
		pause });
	for (size_t i = 0; disks && i < json_object_array_length(disks); i++)
		add_disk(view, json_object_array_get_idx(disks, i));
	add_chain(view, vm);
	add_remark(view, "why", status_text(vm, "why"));
	add_remark(view, "error", status_text(vm, "error"));
}

void status_table_print(json_object *vms, json_object *only, FILE *file)
{
	g_autoptr(Table) table = table_new();
	View view = {
		.table = table,
		.vm = { 0, "lllrlr" },
		.disk = { 2, "lllrrrrr" },
		.remark = { 2, "l" },
	};

	table_add(table, &view.vm, (const char *[]){ "VM", "STATE", "INSTANT",
		"AGE", "METHOD", "PAUSE" });
	table_add(table, &view.disk, (const char *[]){ "DISK", "MODE", "BASE",
		"SIZE", "DIRTY", "READ", "FREED", "SCRATCH" });
	if (only)
		add_vm(&view, only);
	for (size_t i = 0; !only && i < json_object_array_length(vms); i++)
		add_vm(&view, json_object_array_get_idx(vms, i));
	table_print(table, file);
}
