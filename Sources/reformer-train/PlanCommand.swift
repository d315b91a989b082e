// `reformer-train plan`: what a run will need, before it is started.
import ArgumentParser
import Communication
import Foundation
import Training

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Predict parameters, operations, memory and time of a run.",
    discussion: """
      With --window-seconds also the time, on ranks that are joined by a link of --link-gbps. \
      docs/scaling.md explains the prediction.
      """)

  @OptionGroup var arguments: ConfigArguments

  @Option(help: "Number of ranks.")
  var ranks = 1

  @Option(help: "How many of the ranks share a machine (default: all; with --link-gbps 1).")
  var ranksPerMachine: Int?

  @OptionGroup(title: "Time") var time: TimeArguments

  @Flag(help: "Print one JSON object.")
  var json = false

  struct Report: Codable {
    let parameters: Int
    let flopsPerByte: Double
    /// Of the whole run, all epochs counted.
    let trainedBytes: Double
    let ranks: Int
    let threads: Int
    let peakRssBytes: Int
    let peakRssBytesAllRanks: Int
    let memory: MemoryPlan
    let wireBytesPerStep: Int
    let headsPerGroup: Int
    /// What a rank may take: the budget of the config or else this machine's free memory.
    let memoryBudgetBytes: Int?
    let fits: Bool
    /// Changes of the config, each of which would make it fit.
    let smallerRuns: [String]
    let times: [TimeArguments.Prediction]
  }

  func run() throws {
    let config = try arguments.load()
    try config.validate(ranks: ranks)
    let together = ranksPerMachine ?? (time.linkGbps.isEmpty ? ranks : 1)
    guard (1...ranks).contains(together) else {
      throw UserError("--ranks-per-machine \(together); legal values: 1 to --ranks = \(ranks)")
    }
    let layout = config.reformer.parameterLayout
    let threads = Placement.planned(ranksHere: together).threads(configured: config.run.threads)
    let memory = MemoryPlan(config, ranks: ranks, threads: threads)
    let wire = GradientReduction.sentBytes(layout: layout, ranks: ranks, wire: config.run.wire)
    let budget = config.memoryBudget(ranksHere: together)
    let fits = budget.map { memory.peakRssBytes <= $0 } ?? true
    let smaller =
      fits ? [] : config.smallerRuns(within: budget ?? 0, ranks: ranks, threads: threads)
    let times = try time.predict(config, ranks: ranks, ranksPerMachine: together, threads: threads)
    let report = Report(
      parameters: layout.parameterCount,
      flopsPerByte: FlopCount(config.reformer).step / Double(config.data.length),
      trainedBytes: config.stepPlan.bytes(steps: config.run.steps), ranks: ranks,
      threads: threads, peakRssBytes: memory.peakRssBytes,
      // Absurd sizes are told, not trapped on.
      peakRssBytesAllRanks: Int(min(Double(together) * Double(memory.peakRssBytes), 0x1p62)),
      memory: memory, wireBytesPerStep: wire,
      headsPerGroup: config.model.headsPerGroup, memoryBudgetBytes: budget, fits: fits,
      smallerRuns: smaller.map(\.change), times: times)
    if json { return try printJSON(report) }
    func row(_ name: String, _ bytes: Int) {
      let text = String(format: "%9.1f MiB", Double(bytes) / 1_048_576)
      print("  " + name.padding(toLength: 34, withPad: " ", startingAt: 0) + text)
    }
    print("parameters        \(report.parameters)")
    print(
      String(format: "operations        %.2f Mflop per byte, ", report.flopsPerByte * 1e-6)
        + config.model.precision.rawValue)
    print(
      String(
        format: "trained on        %.0f bytes in %d steps", report.trainedBytes, config.run.steps))
    print("sent per rank     \(wire) bytes per step")
    print("heads per group   \(config.model.headsPerGroup) of \(config.model.heads)")
    print("memory per rank (\(ranks) ranks, \(threads) threads each)")
    row("parameters", memory.parametersBytes)
    row("gradients and partial sums", memory.gradientsBytes)
    row(
      config.optimizer.average > 0
        ? "moments and average (rank's share)" : "moments (rank's share)",
      memory.momentsBytes)
    row("other ranks' gradients", memory.reductionBytes)
    row("residual streams and gradients", memory.streamsBytes)
    row("scratch", memory.scratchBytes)
    if memory.keptBytes > 0 { row("kept activations", memory.keptBytes) }
    if memory.streamMemoryBytes > 0 { row("carried over by streams", memory.streamMemoryBytes) }
    if memory.snapshotBytes > 0 { row("copy for background checkpoints", memory.snapshotBytes) }
    if memory.samplingBytes > 0 { row("samples of text", memory.samplingBytes) }
    row("program", memory.programBytes)
    row("peak", memory.peakRssBytes)
    if together > 1 { row("peak of \(together) ranks on a machine", report.peakRssBytesAllRanks) }
    for time in times {
      let link = time.linkGbps.map { String(format: "%g Gb/s", $0) } ?? "one machine"
      print(
        "time of a step    "
          + String(
            format: "%.3f s (%@; %.3f s a window, efficiency %.2f), %.1f hours for %d steps",
            time.stepSeconds, link, time.windowSeconds, time.efficiency, time.runSeconds / 3600,
            config.run.steps))
    }
    guard let budget else { return }
    row(
      config.run.memoryBudgetGB > 0 ? "run.memory_budget_gb" : "free on this machine, per rank",
      budget)
    if fits { return }
    print("does not fit" + (smaller.isEmpty ? "; no single change is enough" : "; what would fit:"))
    for (change, bytes) in smaller { row(change, bytes) }
  }
}
