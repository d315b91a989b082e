// Operations of all ranks together, in pieces that fit MPI's int counts. Each is the non-blocking
// form followed by the common wait loop.
#include "include/CComm.h"
#include "internal.h"
#include <stdlib.h>  // malloc
#include <string.h>  // memcpy

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

int ccomm_first_rank_here(int *first) {
  // The two calls below wait without a limit, but not long once all ranks have come.
  int code = ccomm_barrier();
  if (code == MPI_SUCCESS) code = ccomm_rank(first);
  if (code != MPI_SUCCESS) return code;
  MPI_Comm here;
  code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, *first, MPI_INFO_NULL, &here);
  if (code != MPI_SUCCESS) return code;
  code = MPI_Bcast(first, 1, MPI_INT, 0, here);  // ordered by rank, so its first is the lowest
  MPI_Comm_free(&here);
  return code;
}

int ccomm_barrier(void) {
  MPI_Request request;
  int code = MPI_Ibarrier(MPI_COMM_WORLD, &request);
  return code != MPI_SUCCESS ? code : ccomm_poll(&request);
}

int ccomm_broadcast(void *bytes, size_t count, int root) {
  for (size_t at = 0; at < count;) {
    size_t piece = smaller(count - at, ccomm_piece_bytes());
    MPI_Request request;
    int code =
        MPI_Ibcast((char *)bytes + at, (int)piece, MPI_BYTE, root, MPI_COMM_WORLD, &request);
    if (code == MPI_SUCCESS) code = ccomm_poll(&request);
    if (code != MPI_SUCCESS) return code;
    at += piece;
  }
  return MPI_SUCCESS;
}

int ccomm_gather_counts(int64_t mine, int64_t *all) {
  MPI_Request request;
  int code = MPI_Iallgather(&mine, 1, MPI_INT64_T, all, 1, MPI_INT64_T, MPI_COMM_WORLD, &request);
  return code != MPI_SUCCESS ? code : ccomm_poll(&request);
}

static int gather_at_once(const void *mine, const int64_t *counts, void *all, int rank, int size) {
  int *places = malloc(2 * (size_t)size * sizeof(int));
  if (places == NULL) return CCOMM_NO_MEMORY;
  int *sizes = places + size;
  int offset = 0;
  for (int r = 0; r < size; r++) {
    places[r] = offset;
    sizes[r] = (int)counts[r];
    offset += sizes[r];
  }
  MPI_Request request;
  int code = MPI_Iallgatherv(mine, sizes[rank], MPI_BYTE, all, sizes, places, MPI_BYTE,
                             MPI_COMM_WORLD, &request);
  if (code == MPI_SUCCESS) code = ccomm_poll(&request);
  free(places);
  return code;
}

int ccomm_gather_bytes(const void *mine, const int64_t *counts, void *all) {
  int rank = 0, size = 1;
  int code = ccomm_rank(&rank);
  if (code == MPI_SUCCESS) code = ccomm_size(&size);
  if (code != MPI_SUCCESS) return code;
  size_t total = 0;
  for (int r = 0; r < size; r++) total += (size_t)counts[r];
  if (total <= ccomm_piece_bytes()) return gather_at_once(mine, counts, all, rank, size);
  // Too much for one call with int places: each rank broadcasts its part.
  char *place = all;
  for (int r = 0; r < size && code == MPI_SUCCESS; r++) {
    if (r == rank && counts[r] > 0) memcpy(place, mine, (size_t)counts[r]);
    code = ccomm_broadcast(place, (size_t)counts[r], r);
    place += counts[r];
  }
  return code;
}

int ccomm_allreduce_f32(float *values, size_t count) {
  size_t most = ccomm_piece_bytes() / sizeof(float);
  for (size_t at = 0; at < count;) {
    size_t piece = smaller(count - at, most);
    int code = MPI_Allreduce(MPI_IN_PLACE, values + at, (int)piece, MPI_FLOAT, MPI_SUM,
                             MPI_COMM_WORLD);
    if (code != MPI_SUCCESS) return code;
    at += piece;
  }
  return MPI_SUCCESS;
}

int ccomm_reduce_i64(int64_t *values, size_t count, int operation) {
  MPI_Op op = operation == CCOMM_MINIMUM ? MPI_MIN : operation == CCOMM_MAXIMUM ? MPI_MAX : MPI_SUM;
  size_t most = ccomm_piece_bytes() / sizeof(int64_t);
  if (most == 0) most = 1;
  for (size_t at = 0; at < count;) {
    size_t piece = smaller(count - at, most);
    MPI_Request request;
    int code = MPI_Iallreduce(MPI_IN_PLACE, values + at, (int)piece, MPI_INT64_T, op,
                              MPI_COMM_WORLD, &request);
    if (code == MPI_SUCCESS) code = ccomm_poll(&request);
    if (code != MPI_SUCCESS) return code;
    at += piece;
  }
  return MPI_SUCCESS;
}
