// The program's version, as `--version` prints it and ranks compare it.

/// Version of the program; all ranks of a run must have the same.
public let programVersion = "0.1.0"
