// `reformer-train doctor`: what this machine, and under mpirun its network, can do.
import ArgumentParser
import Communication
import Foundation
import Training

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Examine this machine; under mpirun also the link from the first to the last rank.")

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    guard MPICommunicator.underLauncher() else { return try examine(SoloCommunicator()) }
    try runUnderMPI { try examine($0) }
  }

  private func examine(_ communicator: any Communicator) throws {
    let report = try Training.examine(communicator, progress: Progress(rank: communicator.rank))
    guard communicator.rank == 0 else { return }
    if json { return try printJSON(report) }
    func row(_ name: String, _ value: String) {
      print(name.padding(toLength: 20, withPad: " ", startingAt: 0) + value)
    }
    row("program", "\(report.program), \(report.mpi)")
    let forced = report.instructionSetIsForced ? " (by REFORMER_INSTRUCTIONS)" : ""
    row(
      "processor",
      "\(report.cores) cores, \(report.instructionSet)\(forced), \(report.threads) threads a rank")
    row(
      "multiply-adds",
      String(format: "%.0f Gflop/s a rank", report.fmaGflops)
        + (report.bf16Gflops > 0 ? String(format: ", of bf16 %.0f", report.bf16Gflops) : "")
        + (report.amxGflops > 0 ? String(format: ", by AMX %.0f", report.amxGflops) : ""))
    row(
      "matrix products",
      String(
        format: "%.0f Gflop/s a rank, of bf16 %.0f", report.tilesGflops, report.bf16TilesGflops)
        + (report.amxGflops > 0 ? String(format: ", by AMX %.0f", report.amxTilesGflops) : "")
        + ": " + report.fastest)
    row(
      "beside them",
      String(format: "%.0f Gflop/s a rank, ", report.openblasGflops) + report.openblas)
    row(
      "memory",
      String(
        format: "%.1f GB, copied at %.1f GB/s", Double(report.memoryBytes) * 1e-9,
        report.memoryCopyBytesPerSecond * 1e-9))
    row("ranks", "\(report.ranks) on \(report.hosts.joined(separator: ", "))")
    if let link = report.link {
      row(
        "first to last rank",
        String(
          format: "%.1f us, %.2f GB/s each way", link.latencySeconds * 1e6,
          link.bytesPerSecond * 1e-9))
    }
    for warning in report.warnings { print("warning: \(warning)") }
  }
}
