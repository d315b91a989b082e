// `reformer-train audit`: does any probability of a model depend on later bytes?
import ArgumentParser
import Communication
import Compute
import Corpus
import Foundation
import Training

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Change later bytes and see whether any probability before them changes.",
    discussion: """
      Exit code 1 where a model that claims to be strict is not.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(help: "Part of the corpus to take windows from.")
  var split = CorpusSplit.test

  @Option(help: "Windows to look at; each has up to data.length bytes.")
  var windows = 3

  @Option(name: .customLong("set"), help: "Change a key of the stored config (repeatable).")
  var overrides: [String] = []

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    guard (1...1_000_000).contains(windows), threads >= 0 else {
      throw UserError(
        "--windows \(windows), --threads \(threads); legal values: 1 to 1000000, 0 or more")
    }
    let progress = Progress(rank: 0)
    let stored = try Checkpoint.open(checkpoint, overrides: overrides, report: progress.notice)
    try stored.config.requireDecoder("look for later bytes in")
    let data = try stored.data(communicator: SoloCommunicator(), progress: progress)
    MatrixProducts.current = stored.config.run.matrixProducts
    let report = try stored.withParameters { parameters in
      try Audit(
        config: stored.config, parameters: parameters,
        threads: Placement.alone.threads(configured: threads)
      ).run(corpora: data.parts, split: split, count: windows) {
        progress.update("audit \(Int($0 * 100)) %", isMilestone: false)
      }
    }
    progress.finish()
    if json { try printJSON(report) } else { show(report, step: stored.step) }
    if report.breaksItsClaim {
      throw RunFailure("the model claims to be strict, and later bytes change earlier results")
    }
  }

  private func show(_ report: AuditReport, step: Int) {
    func percent(_ share: Double) -> String { String(format: "%.2f %%", 100 * share) }
    print(
      "step \(step)  \(report.windows) windows of \(report.length)  earlier positions changed by")
    for change in report.changes {
      let kinds = change.kinds.sorted { $0.key < $1.key }.map { "\($0.key) \(percent($0.value))" }
      print(
        "  \(change.change): \(kinds.joined(separator: ", ")); logits "
          + percent(change.changedShare)
          + String(format: ", worth %+.6f bits/byte", change.bitsPerByteEffect))
    }
    print(
      report.isStrict
        ? "strict: no bit of an earlier position follows from later bytes"
        : report.claimsStrict
          ? "NOT strict, though every layer claims to be" : "not strict, and does not claim to be")
  }
}
