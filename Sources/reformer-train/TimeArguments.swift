// `plan`'s options about time, and what follows from them.
import ArgumentParser
import Training

/// How long a window takes.
enum WindowTime: ExpressibleByArgument, CustomStringConvertible {
  case measured
  case seconds(Double)

  init?(argument: String) {
    guard let seconds = Double(argument), seconds > 0, seconds <= 1e9 else { return nil }
    self = .seconds(seconds)
  }

  var description: String { "measured here" }
}

/// The speed of the ranks and of the network.
struct TimeArguments: ParsableArguments {
  @Option(
    defaultAsFlag: WindowTime.measured, parsing: .next,
    help: ArgumentHelp(
      "Predict the time, too: seconds of a window on one rank, as benchmark says with "
        + "run.global_batch = 1; without a value, measured in some seconds.", valueName: "seconds"))
  var windowSeconds: WindowTime?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "Rate of a machine's link, as doctor says (its GB/s times 8); several for comparison.",
      valueName: "rates"))
  var linkGbps: [Double] = []

  @Option(
    help: ArgumentHelp(
      "Time of an empty message, as doctor says.", valueName: "microseconds"))
  var latencyUs = 10.0

  @Option(
    help: ArgumentHelp(
      "Bytes a rank copies, in 1e9 per second, as doctor says (default: measured, or 11).",
      valueName: "rate"))
  var copyGbs: Double?

  /// One line of the prediction.
  struct Prediction: Codable {
    let linkGbps: Double?
    let windowSeconds: Double
    let computationSeconds: Double
    let exposedSeconds: Double
    let stepSeconds: Double
    let efficiency: Double
    let runSeconds: Double
  }

  func validate() throws {
    for rate in linkGbps + [copyGbs].compactMap({ $0 }) where !(rate > 0 && rate <= 1e9) {
      throw ValidationError("--link-gbps and --copy-gbs: \(rate); legal values: above 0, to 1e9")
    }
    guard latencyUs >= 0, latencyUs <= 1e9 else {
      throw ValidationError("--latency-us \(latencyUs); legal values: 0 to 1e9")
    }
    if windowSeconds == nil, !linkGbps.isEmpty || copyGbs != nil {
      throw ValidationError("--link-gbps and --copy-gbs need --window-seconds")
    }
  }

  /// The time on each of the links, or none where it was not asked for.
  func predict(
    _ config: RunConfig, ranks: Int, ranksPerMachine: Int, threads: Int
  ) throws -> [Prediction] {
    var copied = 11e9
    let stages = config.stageConfigs
    /// Of each stage.
    let windows: [Double]
    switch windowSeconds {
    case nil: return []
    case .seconds(let seconds):
      // A byte costs what it costs, in windows of any length.
      windows = stages.map { seconds * Double($0.data.length) / Double(config.data.length) }
    case .measured:
      var one = config
      one.run.globalBatch = 1
      let peak = MemoryPlan(one, ranks: 1, threads: threads).peakRssBytes
      guard peak <= MachineMemory.availableBytes ?? peak else {
        throw UserError(
          "--window-seconds: a window does not fit in this machine's free memory; measure it on "
            + "another (benchmark, run.global_batch = 1) and give its seconds")
      }
      let speeds = try stages.map {
        try measureSpeed($0, threads: threads, progress: Progress(rank: 0))
      }
      windows = speeds.map(\.windowSeconds)
      copied = speeds.map(\.copyBytesPerSecond).max() ?? copied
    }
    let links = linkGbps.isEmpty ? [nil] : linkGbps.map(Optional.some)
    return links.compactMap { link in
      let times = zip(stages, windows).map { stage, window in
        StepTime(
          stage, ranks: ranks, ranksPerMachine: ranksPerMachine,
          speed: MachineSpeed(
            windowSeconds: window, copyBytesPerSecond: copyGbs.map { $0 * 1e9 } ?? copied,
            linkBytesPerSecond: link.map { $0 * 1e9 / 8 }, latencySeconds: latencyUs * 1e-6))
      }
      // Those of the last stage stand for a step; the run has all of them.
      guard let time = times.last, let window = windows.last else { return nil }
      let runSeconds = zip(config.stepPlan.stepCounts, times).reduce(0) {
        $0 + Double($1.0) * $1.1.seconds
      }
      return Prediction(
        linkGbps: link, windowSeconds: window, computationSeconds: time.computationSeconds,
        exposedSeconds: time.exposedSeconds, stepSeconds: time.seconds,
        efficiency: time.efficiency, runSeconds: runSeconds)
    }
  }
}
