/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "served-disk.h"

#include <errno.h>

#include "disk-view.h"
#include "fleece-error.h"
#include "nbd-export.h"
#include "safe-name.h"

/* More is no disk but a server gone wild. */
#define DISK_SIZE_MAX (UINT64_C(1) << 60)

typedef struct {
	const ServedDisk *of;
	Fleece *fleece;
	char *context;     /* of its bitmap; NULL: all is dirty */
	DiskView *view;    /* in Fleece.disks */
	NbdExport *export; /* NULL once the view has it */
	ExtentList *dirty, *allocation;
} Serving;

static void serving_clear(Serving *serving)
{
	g_clear_pointer(&serving->context, g_free);
	g_clear_pointer(&serving->export, nbd_export_free);
	g_clear_pointer(&serving->dirty, extent_list_free);
	g_clear_pointer(&serving->allocation, extent_list_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Serving, serving_clear)

static bool wants_allocation(const Serving *serving)
{
	return serving->of->plan->holes && serving->of->facts->tells_allocation;
}

/* What is not known to see the same over several connections, or may only
 * have one request at a time, gets one connection. */
static unsigned count_connections(const Serving *serving)
{
	const ServedDisk *of = serving->of;

	if (!of->facts->can_share || of->plan->max_in_flight == 1)
		return 1;
	return MAX(of->settings->connections,
		(serving->context ? 1u : 0) + wants_allocation(serving));
}

/* One context a connection, as far as there are enough of them: QEMU would
 * lose count of two. */
static bool connect_export(Serving *serving, GError **error)
{
	const NbdServer *server = serving->of->server;
	const char *wanted[3] = { NULL };
	unsigned n_wanted = 0;
	unsigned n = count_connections(serving);

	if (serving->context)
		wanted[n_wanted++] = serving->context;
	if (wants_allocation(serving))
		wanted[n_wanted++] = "base:allocation";
	if (n == 1)
		return nbd_export_connect_server(serving->export, server,
			wanted, error);
	for (unsigned i = 0; i < n; i++) {
		const char *own[] = { i < n_wanted ? wanted[i] : NULL, NULL };

		if (!nbd_export_connect_server(serving->export, server, own,
			    error))
			return false;
	}
	return true;
}

/* The middle of the longest range that is clean: cluster sizes differ, and
 * what is near a dirty byte may be readable with it. */
static bool find_clean(const ExtentList *dirty, uint64_t *offset)
{
	uint64_t longest = 0;

	for (size_t i = 0; i < extent_list_count(dirty); i++) {
		Extent extent = extent_list_get(dirty, i);

		if (extent.flags & EXTENT_DIRTY || extent.length <= longest)
			continue;
		longest = extent.length;
		*offset = extent.offset + extent.length / 2;
	}
	return longest > 0;
}

/* A copy-before-write filter that is limited to a bitmap lets nothing else be
 * read. */
static bool find_limit(Serving *serving, GError **error)
{
	uint64_t offset = 0;
	int refused;

	if (!serving->dirty || !find_clean(serving->dirty, &offset))
		return true;
	refused = nbd_export_probe(serving->export, offset);
	if (nbd_export_is_lost(serving->export)) {
		fleece_set_error(error, EIO, "the server hung up at the first "
			"read");
		return false;
	}
	serving->of->chain->limited = refused;
	return true;
}

void served_disk_warn_take(const char *vm, Fleece *fleece, char *text)
{
	g_warning("VM %s: %s", vm, text);
	g_ptr_array_add(fleece->warnings, text);
}

/* EXTENT_DIRTY where list has no EXTENT_ZERO. */
static ExtentList *find_data(const ExtentList *list)
{
	g_autoptr(ExtentList) data = extent_list_new(extent_list_size(list));

	for (size_t i = 0; i < extent_list_count(list); i++) {
		Extent extent = extent_list_get(list, i);

		if (!extent_list_append(data, extent.length,
			    extent.flags & EXTENT_ZERO ? 0 : EXTENT_DIRTY))
			return NULL;
	}
	return g_steal_pointer(&data);
}

/*
 * QEMU looks into the scratch first and then into the disk, and a guest may
 * write zeros there between the two.  By the time of another reading what was
 * there before is in the scratch, so what is a hole at both times is one.
 */
static ExtentList *confirm_holes(Serving *serving, ExtentList *told,
	GError **error)
{
	g_autoptr(ExtentList) first = told;
	g_autoptr(ExtentList) again = nbd_export_read_allocation(
		serving->export, serving->of->chain->limited ?
		serving->dirty : NULL, error);
	g_autoptr(ExtentList) data = again ? find_data(again) : NULL;
	ExtentList *holes = data ?
		extent_list_without(first, EXTENT_ZERO, data) : NULL;

	if (again && !holes)
		fleece_set_error(error, ENOMEM, "no memory for its map");
	return holes;
}

static ExtentList *ask_allocation(Serving *serving, GError **error)
{
	ExtentList *told = nbd_export_read_allocation(serving->export,
		serving->of->chain->limited ? serving->dirty : NULL, error);

	return told && serving->of->written ?
		confirm_holes(serving, told, error) : told;
}

/* A server that does not tell has no holes that we could show. */
static bool read_allocation(Serving *serving, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (wants_allocation(serving)) {
		serving->allocation = ask_allocation(serving, &failure);
		if (serving->allocation)
			return true;
		if (nbd_export_is_lost(serving->export)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		served_disk_warn_take(serving->of->vm, serving->fleece,
			g_strdup_printf("disk %s: no holes are shown: %s",
				serving->of->id, failure->message));
	}
	serving->allocation = extent_list_new_uniform(
		serving->of->facts->size, 0);
	return true;
}

static bool read_maps(Serving *serving, GError **error)
{
	if (serving->context) {
		serving->dirty = nbd_export_read_dirty(serving->export,
			serving->context, error);
		if (!serving->dirty)
			return false;
	}
	return find_limit(serving, error) && read_allocation(serving, error);
}

/* The largest power of two that is no more than value. */
static unsigned power_of_two(unsigned value)
{
	return 1u << (g_bit_storage(value) - 1);
}

static unsigned piece_of(const ServedDisk *of)
{
	unsigned piece = of->plan->piece;
	unsigned most = of->facts->maximum ? power_of_two(of->facts->maximum) :
					     0;

	return piece && most ? MIN(piece, most) : MAX(piece, most);
}

static NbdExport *new_export(const Serving *serving)
{
	const ServedDisk *of = serving->of;
	NbdExportConfig config = {
		.name = of->facts->name,
		.size = of->facts->size,
		.timeout_ms = of->settings->timeout_ms,
		.read_timeout_ms = of->settings->read_timeout_ms,
		.max_in_flight = of->plan->max_in_flight,
		.piece = piece_of(of),
		.block = of->facts->minimum,
		.lost = disk_view_lost,
		.opaque = serving->view,
	};

	return nbd_export_new(of->loops[serving->fleece->disks->len %
			of->n_loops], &config);
}

static void add_to_fleece(Serving *serving, GHashTable *taken)
{
	const ServedDisk *of = serving->of;

	serving->view = disk_view_new_take(safe_name_unique(of->id, taken),
		of->id, of->facts->size, of->scratch_fd);
	disk_view_set_foreign(serving->view, of->facts->can_trim ?
		of->plan->cluster : 0);
	g_ptr_array_add(serving->fleece->disks, serving->view);
	g_ptr_array_add(serving->fleece->chains, of->chain);
}

static bool check_size(const ServedDisk *disk, GError **error)
{
	if (disk->facts->size <= DISK_SIZE_MAX)
		return true;
	fleece_set_error(error, EFBIG, "a size of %" G_GUINT64_FORMAT " bytes",
		disk->facts->size);
	return false;
}

bool served_disk_add(const ServedDisk *disk, Fleece *fleece,
	GHashTable *taken, GError **error)
{
	g_auto(Serving) serving = {
		.of = disk,
		.fleece = fleece,
		.context = disk->bitmap ? g_strconcat(NBD_BITMAP_CONTEXT,
			disk->bitmap, NULL) : NULL,
	};

	add_to_fleece(&serving, taken);
	serving.export = new_export(&serving);
	if (check_size(disk, error) && connect_export(&serving, error) &&
	    read_maps(&serving, error) &&
	    disk_view_attach_take(serving.view,
		    g_steal_pointer(&serving.export), serving.allocation,
		    serving.dirty, error))
		return true;
	g_prefix_error(error, "disk %s: ", disk->id);
	return false;
}
