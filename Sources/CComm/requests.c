// Messages between two ranks in the background. One message of any size is a row of MPI requests,
// each below the piece size; a handle is the message's place in a table that only grows.
//
// Messages to one rank stand in line, and two are under way at a time. MPI shares the bandwidth out among
// all that were started: with more, what is needed first would come as late as the rest; with one, the
// link would be idle while the next one is announced and accepted.
#include "include/CComm.h"
#include "internal.h"
#include <stdlib.h>  // malloc, realloc

struct message {
  MPI_Request *pieces;  // kept when the message is freed, for the next one in this place
  size_t capacity, piece_count, done;
  char *base;
  size_t bytes, piece_bytes;
  int peer, tag;
  int receiving, begun, through;
  int code;          // the first error, kept for the wait
  int next_in_line;  // of messages to the same rank, or LIST_END
  int next_free;     // IN_USE, or the next free place, or LIST_END
};

enum { UNDER_WAY = 2 };

struct line {  // places of messages, or LIST_END
  int under_way[UNDER_WAY];
  int first_waiting, last_waiting;
};

enum { LIST_END = -1, IN_USE = -2 };

static struct message *table = NULL;
static int table_count = 0;
static int first_free = LIST_END;
static int oldest_moving = 0;  // no message before this place is on its way
static struct line *lines = NULL;
static int line_count = 0;
static int waiting = 0;  // messages that have not begun
static int next_line = 0;  // whose turn it is to be looked at
static int trouble = 0;  // an error that no wait has returned yet
static int64_t test_count = 0;  // calls of MPI_Test

// What one call of ccomm_progress may cost however many ranks there are: each look asks MPI about four
// messages in line and four in the order of their start. All messages that MPI has move a little at each test,
// on TCP about what one system call moves; only those in line have to wait for their turn.
enum { LOOKS = 4, TESTS = 4 };

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

static void begin(struct message *m) {
  m->begun = 1;
  for (size_t i = 0; i < m->piece_count && m->code == 0; i++) {
    char *at = m->base + i * m->piece_bytes;
    int size = (int)size_of_piece(m, i);
    m->code = m->receiving
        ? MPI_Irecv(at, size, MPI_BYTE, m->peer, m->tag, MPI_COMM_WORLD, &m->pieces[i])
        : MPI_Isend(at, size, MPI_BYTE, m->peer, m->tag, MPI_COMM_WORLD, &m->pieces[i]);
    // Pieces already started stay with MPI; a run does not go on after such an error.
  }
}

static int make_lines(void) {
  int code = ccomm_size(&line_count);
  if (code != MPI_SUCCESS) return code;
  lines = malloc((size_t)line_count * sizeof(*lines));
  if (lines == NULL) return CCOMM_NO_MEMORY;
  for (int i = 0; i < line_count; i++) lines[i] = (struct line){{LIST_END, LIST_END}, LIST_END, LIST_END};
  return 0;
}

// Begins a message, or leaves it waiting behind those to the same rank.
static void join_line(int place) {
  struct line *line = &lines[table[place].peer];
  for (int i = 0; i < UNDER_WAY; i++) {
    if (line->under_way[i] != LIST_END) continue;
    line->under_way[i] = place;
    begin(&table[place]);
    return;
  }
  if (line->first_waiting == LIST_END) {
    line->first_waiting = place;
  } else {
    table[line->last_waiting].next_in_line = place;
  }
  line->last_waiting = place;
  waiting++;
}

// Takes a message that is through out of its line and begins the next in its stead.
static void leave_line(int place) {
  struct line *line = &lines[table[place].peer];
  for (int i = 0; i < UNDER_WAY; i++) {
    if (line->under_way[i] != place) continue;
    line->under_way[i] = line->first_waiting;
    if (line->first_waiting == LIST_END) return;
    struct message *next = &table[line->first_waiting];
    line->first_waiting = next->next_in_line;
    waiting--;
    begin(next);
    return;
  }
}

static int start(char *bytes, size_t count, int peer, int tag, int receiving, int *handle) {
  if (first_free == LIST_END && grow_table() != 0) return CCOMM_NO_MEMORY;
  int code = lines == NULL ? make_lines() : 0;
  if (code != 0) return code;
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
                        .base = bytes, .bytes = count, .piece_bytes = piece_bytes, .peer = peer,
                        .tag = tag, .receiving = receiving, .next_in_line = LIST_END,
                        .next_free = IN_USE};
  if (receiving) {
    begin(m);
  } else {
    join_line(place);
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
  if (!m->begun) return 0;
  while (m->code == 0 && m->done < m->piece_count) {
    int through = 0, received = 0;
    MPI_Status status;
    m->code = MPI_Test(&m->pieces[m->done], &through, &status);
    test_count++;
    if (m->code != 0) break;
    if (!through) return 0;
    if (m->receiving) {
      MPI_Get_count(&status, MPI_BYTE, &received);
      if ((size_t)received < size_of_piece(m, m->done)) m->code = CCOMM_SHORT_MESSAGE;
    }
    m->done++;
  }
  if (m->code != 0) trouble = m->code;
  if (!m->through && !m->receiving) leave_line((int)(m - table));
  m->through = 1;
  return 1;
}

void ccomm_push_lines(void) {
  const int64_t limit = test_count + TESTS;
  for (int i = 0; waiting > 0 && i < line_count && test_count < limit; i++) {
    const struct line *line = &lines[next_line];
    for (int j = 0; j < UNDER_WAY; j++) {
      while (line->first_waiting != LIST_END && test_count < limit
             && finished(&table[line->under_way[j]])) {}
    }
    next_line = (next_line + 1) % line_count;
  }
}

int64_t ccomm_test_count(void) { return test_count; }

int ccomm_progress(void) {
  for (int look = 0; look < LOOKS; look++) {
    ccomm_push_lines();
    const int64_t limit = test_count + TESTS;
    while (oldest_moving < table_count && test_count < limit
           && (table[oldest_moving].next_free != IN_USE || finished(&table[oldest_moving]))) {
      oldest_moving++;
    }
    if (oldest_moving == table_count) break;
  }
  return trouble;
}

int ccomm_wait(int handle) {
  if (handle < 0 || handle >= table_count || table[handle].next_free != IN_USE) {
    return CCOMM_BAD_HANDLE;
  }
  double started = 0;
  while (!finished(&table[handle])) {
    ccomm_push_lines();
    // A message that cannot end stays with MPI, which may still write to its bytes: the run has to end.
    if (ccomm_waited_too_long(&started)) return CCOMM_TIMED_OUT;
  }
  int code = table[handle].code;
  if (code == trouble) trouble = 0;
  release(handle);
  return code;
}
