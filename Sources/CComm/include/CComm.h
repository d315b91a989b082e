// MPI in plain C types. MPI_COMM_WORLD and its kin are casts of symbols, which Swift cannot import,
// so they never leave the C files behind this header.
//
// Every function that returns int returns 0 when done, an MPI error code (> 0) or one of the codes
// below (< 0). All calls come from the thread that called ccomm_start. Waits poll and yield the
// processor between polls, so that more ranks than cores do not starve each other.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  CCOMM_NO_MEMORY = -1,       // the C library could not allocate
  CCOMM_SHORT_MESSAGE = -2,   // the sender sent fewer bytes than the receiver expected
  CCOMM_NO_THREADS = -3,      // this MPI cannot serve a program with threads
  CCOMM_BAD_HANDLE = -4,      // no handle of ccomm_send or ccomm_receive, or waited for before
  CCOMM_TIMED_OUT = -5,       // a wait lasted longer than the limit
};

enum { CCOMM_MINIMUM = 0, CCOMM_MAXIMUM = 1, CCOMM_SUM = 2 };

// ---- Session
int ccomm_start(void);    // MPI_THREAD_FUNNELED; errors come back as codes from here on
int ccomm_finish(void);
int ccomm_rank(int *rank);
int ccomm_size(int *size);
void ccomm_abort(int code);  // ends all ranks that can be reached, this one in any case; does not return
void ccomm_library(char *text, size_t size);  // name and version of the MPI library
int ccomm_error_class(int code);                          // MPI error class; own codes unchanged
void ccomm_error_text(int code, char *text, size_t size); // words without MPI's symbolic name
void ccomm_set_wait_limit(double seconds);  // for every single wait from here on; 0: none, as at first
void ccomm_set_piece_bytes(size_t bytes);  // largest single MPI message; only tests change it

// ---- Collectives: every rank calls them in the same order.
int ccomm_first_rank_here(int *first);  // the lowest rank on this rank's machine
int ccomm_barrier(void);
int ccomm_broadcast(void *bytes, size_t count, int root);
int ccomm_gather_counts(int64_t mine, int64_t *all);      // all: [size]
// all: the ranks' bytes one after the other; counts: [size], from ccomm_gather_counts.
int ccomm_gather_bytes(const void *mine, const int64_t *counts, void *all);
// The sum by MPI itself, in an order of its own: the yardstick of our reduction, used for nothing else.
int ccomm_allreduce_f32(float *values, size_t count);
int ccomm_reduce_i64(int64_t *values, size_t count, int operation);  // result on every rank

// ---- Messages in the background. Between the same two ranks, messages of one tag arrive in order.
// The bytes belong to the message until its wait returns. Messages to one rank go one after the other, so
// a rank that waits for one must have begun to receive those sent to it before.
int ccomm_send(const void *bytes, size_t count, int peer, int tag, int *handle);
int ccomm_receive(void *bytes, size_t count, int peer, int tag, int *handle);
int ccomm_progress(void);  // moves what can move; never blocks; the error of a message not yet waited for
int64_t ccomm_test_count(void);  // how often MPI was asked whether a message is through
int ccomm_wait(int handle);           // returns when the message is through; frees the handle

#ifdef __cplusplus
}
#endif
