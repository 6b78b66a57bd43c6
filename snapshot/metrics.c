/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "metrics.h"

#include <stdbool.h>

#include "snapshot-make.h"

/* One VM, or one disk of it. */
typedef struct {
	char *labels;       /* with their values, as they stand in a line */
	const char *state;  /* of the VM */
	Snapshot *snapshot; /* NULL where there is none */
	const DiskView *disk;
	DiskStats stats;
} Row;

typedef struct {
	const char *name, *type, *help;
	double (*value)(const Row *row);
} Metric;

static void row_free(gpointer data)
{
	Row *row = data;

	g_free(row->labels);
	if (row->snapshot)
		snapshot_unref(row->snapshot);
	g_free(row);
}

/* --- what is told --- */

static double instant(const Row *row)
{
	return snapshot_instant(row->snapshot) / 1e3;
}

static double committed(const Row *row)
{
	return snapshot_is_committed(row->snapshot);
}

static double pause_time(const Row *row)
{
	return snapshot_fleece(row->snapshot)->pause_us / 1e6;
}

static double freeze_time(const Row *row)
{
	return snapshot_fleece(row->snapshot)->freeze_us / 1e6;
}

static const Metric of_snapshots[] = {
	{ "snapshot_instant_seconds", "gauge",
	  "When the snapshot was taken, in seconds since 1970.", instant },
	{ "snapshot_committed", "gauge",
	  "Whether the snapshot's checkpoint was committed.", committed },
	{ "snapshot_pause_seconds", "gauge",
	  "How long the guest stood still for the snapshot.", pause_time },
	{ "snapshot_freeze_seconds", "gauge",
	  "How long its filesystems were frozen for it.", freeze_time },
};

static double size(const Row *row)
{
	return disk_view_size(row->disk);
}

static double allocated(const Row *row)
{
	return disk_view_allocated(row->disk);
}

static double dirty(const Row *row)
{
	return disk_view_dirty(row->disk);
}

static double scratch(const Row *row)
{
	return row->stats.scratch;
}

static double read_bytes(const Row *row)
{
	return row->stats.read;
}

static double freed(const Row *row)
{
	return row->stats.freed;
}

static double failed_reads(const Row *row)
{
	return row->stats.failed_reads;
}

static const Metric of_disks[] = {
	{ "disk_size_bytes", "gauge", "The size of the disk.", size },
	{ "disk_allocated_bytes", "gauge",
	  "What of the disk is no hole.", allocated },
	{ "disk_dirty_bytes", "gauge",
	  "What of the disk is to be copied.", dirty },
	{ "disk_scratch_bytes", "gauge",
	  "Scratch space that is in use.", scratch },
	{ "disk_read_bytes_total", "counter",
	  "What was given to readers of this snapshot.", read_bytes },
	{ "disk_freed_bytes_total", "counter",
	  "What was punched in this snapshot.", freed },
	{ "disk_failed_reads_total", "counter",
	  "Reads of this snapshot that failed.", failed_reads },
};

/* --- how it is written --- */

static void add_label(GString *labels, const char *name, const char *value)
{
	g_autofree char *valid = g_utf8_make_valid(value, -1);

	g_string_append_printf(labels, "%s%s=\"", labels->len ? "," : "",
		name);
	for (const char *p = valid; *p; p++) {
		if (*p == '\n')
			g_string_append(labels, "\\n");
		else if (*p == '"' || *p == '\\')
			g_string_append_printf(labels, "\\%c", *p);
		else
			g_string_append_c(labels, *p);
	}
	g_string_append_c(labels, '"');
}

static void add_head(GString *text, const char *name, const char *type,
	const char *help)
{
	g_string_append_printf(text, "# HELP fleecefs_%s %s\n"
		"# TYPE fleecefs_%s %s\n", name, help, name, type);
}

/* Whole numbers are written as such: a disk has more bytes than "%g" digits. */
static void add_value(GString *text, const char *name, const char *labels,
	double value)
{
	char number[G_ASCII_DTOSTR_BUF_SIZE];
	bool whole = value == (double)(guint64)value;

	g_ascii_formatd(number, sizeof number, whole ? "%.0f" : "%.6f", value);
	g_string_append_printf(text, *labels ? "fleecefs_%s{%s} %s\n" :
		"fleecefs_%s%s %s\n", name, labels, number);
}

static void add_metrics(GString *text, const Metric *metrics, unsigned n,
	const GPtrArray *rows)
{
	for (unsigned i = 0; i < n; i++) {
		const Metric *metric = &metrics[i];

		add_head(text, metric->name, metric->type, metric->help);
		for (guint j = 0; j < rows->len; j++) {
			const Row *row = rows->pdata[j];

			if (row->snapshot)
				add_value(text, metric->name, row->labels,
					metric->value(row));
		}
	}
}

/* One line for each state, so that each is a series from the beginning. */
static void add_states(GString *text, const GPtrArray *vms)
{
	static const char *const states[] = { "available", "failed", "live",
		"broken", "gone" };

	add_head(text, "vm_state", "gauge",
		"Whether the VM's snapshot is in that state.");
	for (guint i = 0; i < vms->len; i++) {
		const Row *row = vms->pdata[i];

		for (unsigned s = 0; s < G_N_ELEMENTS(states); s++) {
			g_autofree char *labels = g_strdup_printf(
				"%s,state=\"%s\"", row->labels, states[s]);

			add_value(text, "vm_state", labels,
				g_str_equal(row->state, states[s]));
		}
	}
}

static void add_mount(GString *text, VmSet *set)
{
	g_autoptr(GPtrArray) unreachable = vm_set_unreachable(set);
	g_autoptr(GString) labels = g_string_new(NULL);
	uint64_t total, left;

	add_label(labels, "version", FLEECEFS_VERSION);
	add_label(labels, "source", vm_set_spec(set));
	add_head(text, "info", "gauge", "The mount.");
	add_value(text, "info", labels->str, 1);
	add_head(text, "unreachable", "gauge",
		"How much of the source could not be looked at.");
	add_value(text, "unreachable", "", unreachable->len);
	vm_set_scratch_space(set, &total, &left);
	add_head(text, "scratch_limit_bytes", "gauge",
		"How much scratch space there may be in all.");
	add_value(text, "scratch_limit_bytes", "", total);
	add_head(text, "scratch_left_bytes", "gauge",
		"How much of that is left.");
	add_value(text, "scratch_left_bytes", "", left);
}

/* --- the rows --- */

static Row *vm_row(Vm *vm)
{
	Row *row = g_new0(Row, 1);
	GString *labels = g_string_new(NULL);
	g_autofree char *error = vm_error(vm);
	g_autofree char *why = NULL;

	add_label(labels, "vm", vm_name(vm));
	row->labels = g_string_free(labels, FALSE);
	row->snapshot = vm_snapshot(vm);
	if (row->snapshot)
		row->state = snapshot_state_to_text(
			snapshot_get_state(row->snapshot, &why));
	else
		row->state = error ? "failed" : "available";
	return row;
}

static Row *disk_row(const Row *vm, unsigned index)
{
	Row *row = g_new0(Row, 1);
	GString *labels = g_string_new(vm->labels);

	row->state = vm->state;
	row->snapshot = snapshot_ref(vm->snapshot);
	row->disk = snapshot_disk(row->snapshot, index);
	disk_view_stats(snapshot_disk(row->snapshot, index), &row->stats);
	add_label(labels, "disk", disk_view_name(row->disk));
	row->labels = g_string_free(labels, FALSE);
	return row;
}

static GPtrArray *list_vms(VmSet *set)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);
	g_autoptr(GPtrArray) vms = vm_set_list(set);

	for (guint i = 0; i < vms->len; i++)
		g_ptr_array_add(rows, vm_row(vms->pdata[i]));
	return rows;
}

static GPtrArray *list_disks(const GPtrArray *vms)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);

	for (guint i = 0; i < vms->len; i++) {
		const Row *vm = vms->pdata[i];
		unsigned n = vm->snapshot ? snapshot_n_disks(vm->snapshot) : 0;

		for (unsigned d = 0; d < n; d++)
			g_ptr_array_add(rows, disk_row(vm, d));
	}
	return rows;
}

char *metrics_text(VmSet *set)
{
	GString *text = g_string_new(NULL);
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(GPtrArray) disks = NULL;

	vm_set_refresh(set, NULL);
	vms = list_vms(set);
	disks = list_disks(vms);
	add_mount(text, set);
	add_states(text, vms);
	add_metrics(text, of_snapshots, G_N_ELEMENTS(of_snapshots), vms);
	add_metrics(text, of_disks, G_N_ELEMENTS(of_disks), disks);
	return g_string_free(text, FALSE);
}
