// Shared by the C files of CComm, not by others.
#pragma once
#include <mpi.h>
#include <stddef.h>

// Largest number of bytes handed to one MPI call, whose counts are ints.
size_t ccomm_piece_bytes(void);
// Blocks until the request is through. Polling leaves room for a time limit, and the processor is
// offered to others between polls.
int ccomm_poll(MPI_Request *request);
