// Start and end of MPI, errors as codes and words, and the one wait loop.
#include "include/CComm.h"
#include "internal.h"
#include <sched.h>   // sched_yield
#include <signal.h>  // signal
#include <stdio.h>   // snprintf
#include <string.h>  // strstr
#include <unistd.h>  // alarm

static size_t piece_bytes = (size_t)1 << 30;

size_t ccomm_piece_bytes(void) { return piece_bytes; }

void ccomm_set_piece_bytes(size_t bytes) {
  const size_t limit = (size_t)1 << 30;
  piece_bytes = bytes == 0 ? 1 : bytes > limit ? limit : bytes;
}

int ccomm_start(void) {
  int provided = MPI_THREAD_SINGLE;
  int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  if (code != MPI_SUCCESS) return code;
  if (provided < MPI_THREAD_FUNNELED) return CCOMM_NO_THREADS;
  return MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

int ccomm_finish(void) { return MPI_Finalize(); }

int ccomm_rank(int *rank) { return MPI_Comm_rank(MPI_COMM_WORLD, rank); }

int ccomm_size(int *size) { return MPI_Comm_size(MPI_COMM_WORLD, size); }

static int abort_code = 1;

static void leave(int number) {
  (void)number;
  _exit(abort_code);
}

void ccomm_abort(int code) {
  // MPI_Abort asks the launcher to end all ranks and waits for it; the launcher may be out of reach.
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
  abort_code = code;
  signal(SIGALRM, leave);
  alarm(5);
  MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

void ccomm_library(char *text, size_t size) {
  char full[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(full, &length);
  full[strcspn(full, ",\n")] = 0;  // what follows is about its build
  snprintf(text, size, "%s", full);
}

int ccomm_error_class(int code) {
  int class = code;
  if (code > 0) MPI_Error_class(code, &class);
  return class;
}

void ccomm_error_text(int code, char *text, size_t size) {
  switch (code) {
    case CCOMM_NO_MEMORY: snprintf(text, size, "out of memory"); return;
    case CCOMM_SHORT_MESSAGE: snprintf(text, size, "the other rank sent too few bytes"); return;
    case CCOMM_NO_THREADS: snprintf(text, size, "this MPI was built without threads"); return;
    case CCOMM_BAD_HANDLE: snprintf(text, size, "no such message"); return;
    default: break;
  }
  char full[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, full, &length);
  // Open MPI writes "MPI_ERR_TRUNCATE: message truncated"; the name says the same as the number.
  const char *colon = strstr(full, ": ");
  snprintf(text, size, "%s", colon ? colon + 2 : full);
}

static double wait_limit = 0;

void ccomm_set_wait_limit(double seconds) { wait_limit = seconds; }

int ccomm_waited_too_long(double *started) {
  sched_yield();
  if (wait_limit <= 0) return 0;
  double now = MPI_Wtime();
  if (*started == 0) *started = now;
  return now - *started > wait_limit;
}

int ccomm_poll(MPI_Request *request) {
  double started = 0;
  for (;;) {
    int done = 0;
    int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || done) return code;
    ccomm_push_lines();
    if (ccomm_waited_too_long(&started)) return CCOMM_TIMED_OUT;
  }
}
