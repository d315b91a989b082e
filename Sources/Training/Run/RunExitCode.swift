// What an error means for the exit code of the program, and for the other ranks.
import Checkpointing
import Communication
import Corpus
import Reformer

/// The exit code of an error: 2 for wrong input, 1 for a run that failed.
public func runExitCode(_ error: any Error) -> Int32 {
  switch error {
  case is UserError, is ConfigError, is CorpusError, is CheckpointError: 2
  // The model's sizes and the tokens it is given are input; a pass that fails is not.
  case ReformerError.config, ReformerError.window: 2
  default: 1
  }
}

/// Whether all ranks throw this error together, so that the run can end in order; any other is one rank's alone, and
/// the others would wait for it.
public func isOfAllRanks(_ error: any Error) -> Bool { error is UserError || error is RunFailure }
