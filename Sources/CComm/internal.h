// Shared by the C files of CComm, not by others.
#pragma once
#include <mpi.h>
#include <stddef.h>

// Largest number of bytes handed to one MPI call, whose counts are ints.
size_t ccomm_piece_bytes(void);
// A wait under way: whether it has lasted longer than the limit. Set started to 0 at first; the processor
// is offered to others at each call.
int ccomm_waited_too_long(double *started);
// Begins messages whose turn has come; every wait calls it, or the others would wait for ever.
void ccomm_push_lines(void);
// Blocks until the request is through or the limit of a wait is reached.
int ccomm_poll(MPI_Request *request);
