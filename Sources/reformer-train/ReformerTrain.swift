// The program: parses the command line, runs one command, turns errors into one line and an exit code.
import ArgumentParser
import Communication
import Compute
import Foundation
import Training

@main
struct ReformerTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reformer-train",
    abstract: "Trains byte-level Reformer language models with very long context on CPUs.",
    discussion: """
      reformer-train plan --config FILE          what a run will need
      mpirun -np 2 reformer-train --config FILE  train, here on two ranks
      reformer-train evaluate checkpoints/NAME   score what was trained
      reformer-train report checkpoints/NAME     draw it, for a browser
      reformer-train compare SPEC                train variants of a config, and compare them
      reformer-train generate checkpoints/NAME   continue a text with it
      reformer-train translate checkpoints/NAME  write the target of each line
      reformer-train help train                  the options of a command
      reformer-train help config                 the keys of a config
      reformer-train help metrics                the keys of metrics.jsonl
      reformer-train help schema                 the schemas of what --json prints

      Exit codes: 0 done, 1 the run failed, 2 wrong input.
      """,
    version: programVersion,
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, GenerateCommand.self, TranslateCommand.self,
      CompleteCommand.self,
      CompressCommand.self, DecompressCommand.self, ReportCommand.self, CompareCommand.self,
      ExportCommand.self,
      ImportCommand.self,
      AuditCommand.self, PlanCommand.self, BenchmarkCommand.self, ConformanceCommand.self,
      InspectCommand.self, DoctorCommand.self,
    ],
    defaultSubcommand: TrainCommand.self)

  static func main() {
    do {
      var command = try parsed(Array(CommandLine.arguments.dropFirst()))
      if let problem = Kernels.environmentError { throw UserError(problem) }
      try command.run()
    } catch {
      // Requests for help are no errors; everything else that ArgumentParser throws is wrong input.
      if exitCode(for: error) == .success { exit(withError: error) }
      // A command has printed its message when it throws a bare code.
      if let code = error as? ExitCode { Foundation.exit(code.rawValue) }
      let isUsage = !(error is UserError) && exitCode(for: error) == .validationFailure
      let usage = message(for: error).split(separator: "\n").first.map(String.init)
      let text = isUsage ? (usage ?? "wrong usage") + "; see reformer-train --help" : "\(error)"
      if isFirstRank { complain(text) }
      Foundation.exit(isUsage ? 2 : runExitCode(error))
    }
  }

  /// The parser's own `help` knows commands only.
  private static func parsed(_ words: [String]) throws -> any ParsableCommand {
    let rest = Array(words.dropFirst(2))
    if words.starts(with: ["help", "config"]) { return try HelpConfigCommand.parse(rest) }
    if words.starts(with: ["help", "metrics"]) { return try HelpMetricsCommand.parse(rest) }
    if words.starts(with: ["help", "schema"]) { return try HelpSchemaCommand.parse(rest) }
    return try parseAsRoot(words)
  }

  /// Before MPI runs, only the launcher's variables tell ranks apart; one message is enough.
  private static var isFirstRank: Bool {
    let names = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"]
    let rank = names.compactMap { MPICommunicator.environment($0) }.first
    return rank == nil || rank == "0"
  }
}
