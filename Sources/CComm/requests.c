// Messages between two ranks in the background. One message of any size is a row of MPI requests,
// each below the piece size; a handle is the message's place in a table that only grows.
#include "include/CComm.h"
#include "internal.h"
#include <stdlib.h>  // realloc

struct message {
  MPI_Request *pieces;  // kept when the message is freed, for the next one in this place
  size_t capacity, piece_count, done;
  size_t bytes, piece_bytes;
  int receiving;
  int code;       // the first error, kept for the wait
  int next_free;  // IN_USE, or the next free place, or LIST_END
};

enum { LIST_END = -1, IN_USE = -2 };

static struct message *table = NULL;
static int table_count = 0;
static int first_free = LIST_END;
static int oldest_moving = 0;  // no message before this place is on its way

static int grow_table(void) {
  int count = table_count == 0 ? 64 : 2 * table_count;
  struct message *larger = realloc(table, (size_t)count * sizeof(*larger));
  if (larger == NULL) return CCOMM_NO_MEMORY;
  table = larger;
  for (int i = count - 1; i >= table_count; i--) {
    table[i] = (struct message){.next_free = first_free};
    first_free = i;
  }
  table_count = count;
  return 0;
}

static size_t size_of_piece(const struct message *m, size_t index) {
  size_t left = m->bytes - index * m->piece_bytes;
  return left < m->piece_bytes ? left : m->piece_bytes;
}

static void release(int handle) {
  table[handle].next_free = first_free;
  first_free = handle;
}

static int start(char *bytes, size_t count, int peer, int tag, int receiving, int *handle) {
  if (first_free == LIST_END && grow_table() != 0) return CCOMM_NO_MEMORY;
  int place = first_free;
  struct message *m = &table[place];
  size_t piece_bytes = ccomm_piece_bytes();
  size_t pieces = (count + piece_bytes - 1) / piece_bytes;
  if (pieces > m->capacity) {
    MPI_Request *larger = realloc(m->pieces, pieces * sizeof(*larger));
    if (larger == NULL) return CCOMM_NO_MEMORY;
    m->pieces = larger;
    m->capacity = pieces;
  }
  first_free = m->next_free;
  *m = (struct message){.pieces = m->pieces, .capacity = m->capacity, .piece_count = pieces,
                        .bytes = count, .piece_bytes = piece_bytes, .receiving = receiving,
                        .next_free = IN_USE};
  for (size_t i = 0; i < pieces; i++) {
    char *at = bytes + i * piece_bytes;
    int size = (int)size_of_piece(m, i);
    int code = receiving
        ? MPI_Irecv(at, size, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &m->pieces[i])
        : MPI_Isend(at, size, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &m->pieces[i]);
    if (code != MPI_SUCCESS) {
      // Pieces already started stay with MPI; a run does not go on after such an error.
      release(place);
      return code;
    }
  }
  if (place < oldest_moving) oldest_moving = place;
  *handle = place;
  return 0;
}

int ccomm_send(const void *bytes, size_t count, int peer, int tag, int *handle) {
  return start((char *)(uintptr_t)bytes, count, peer, tag, 0, handle);
}

int ccomm_receive(void *bytes, size_t count, int peer, int tag, int *handle) {
  return start(bytes, count, peer, tag, 1, handle);
}

// Whether every piece is through or one has failed.
static int finished(struct message *m) {
  while (m->code == 0 && m->done < m->piece_count) {
    int through = 0, received = 0;
    MPI_Status status;
    m->code = MPI_Test(&m->pieces[m->done], &through, &status);
    if (m->code != 0) return 1;
    if (!through) return 0;
    if (m->receiving) {
      MPI_Get_count(&status, MPI_BYTE, &received);
      if ((size_t)received < size_of_piece(m, m->done)) m->code = CCOMM_SHORT_MESSAGE;
    }
    m->done++;
  }
  return 1;
}

int ccomm_progress(void) {
  // One test of anything unfinished lets MPI move everything; errors wait for their wait.
  for (; oldest_moving < table_count; oldest_moving++) {
    struct message *m = &table[oldest_moving];
    if (m->next_free == IN_USE && !finished(m)) return 0;
  }
  return 0;
}

int ccomm_wait(int handle) {
  if (handle < 0 || handle >= table_count || table[handle].next_free != IN_USE) {
    return CCOMM_BAD_HANDLE;
  }
  double started = 0;
  while (!finished(&table[handle])) {
    // A message that cannot end stays with MPI, which may still write to its bytes: the run has to end.
    if (ccomm_waited_too_long(&started)) return CCOMM_TIMED_OUT;
  }
  int code = table[handle].code;
  release(handle);
  return code;
}
