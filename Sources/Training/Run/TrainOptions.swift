// What the command line says about a training beside its config.
import Checkpointing

/// What the command line adds to a config.
public struct TrainOptions: Sendable {
  /// `auto`, a checkpoint folder, or nil to start anew.
  public var resume: String?
  /// Checkpoint whose parameters a run begins with; nil for random ones.
  public var from: String?
  /// What its model may have otherwise.
  public var adaptations: [Adaptation]
  /// Run folder; nil for `checkpoints/NAME`.
  public var output: String?
  /// Stop after this step of the run; the schedule keeps the config's length.
  public var stopAfterStep: Int?
  /// Stop before so much time has passed, such as `2h`.
  public var stopAfter: String?
  /// Take as many steps as end within so many minutes, in place of `run.steps`.
  public var minutes: Double?
  /// Whether the command line says `run.steps`, which then goes before a number that `minutes` fixed.
  public var setsSteps: Bool
  /// Let ranks, or a resume, differ in the kernels of OpenBLAS.
  public var allowMixedMachines: Bool
  /// The commit that the program is built from, for the record.
  public var commit: String?

  /// All options at once.
  public init(
    resume: String? = nil, from: String? = nil, adaptations: [Adaptation] = [],
    output: String? = nil, stopAfterStep: Int? = nil,
    stopAfter: String? = nil, minutes: Double? = nil, setsSteps: Bool = false,
    allowMixedMachines: Bool = false, commit: String? = nil
  ) {
    self.resume = resume
    self.from = from
    self.adaptations = adaptations
    self.output = output
    self.stopAfterStep = stopAfterStep
    self.stopAfter = stopAfter
    self.minutes = minutes
    self.setsSteps = setsSteps
    self.allowMixedMachines = allowMixedMachines
    self.commit = commit
  }
}

extension TrainOptions {
  /// Throws a `UserError` where a run without `resume` would begin in a folder that holds one.
  ///
  /// For rank 0 alone: another host that shares the folder would remember that it was not there.
  func requireFresh(_ folder: String) throws {
    guard resume == nil, let last = try CheckpointStore(runFolder: folder).steps().last else {
      return
    }
    throw UserError(
      "\(folder) already holds a run up to step \(last); add --resume auto to go on with it, or "
        + "choose another folder with --output")
  }

  /// Throws a `UserError` where a value cannot be.
  func check() throws(UserError) {
    if let stopAfterStep, stopAfterStep < 1 {
      throw UserError("--steps \(stopAfterStep); legal values: 1 or more")
    }
    if let minutes, !(minutes > 0 && minutes <= 1e7) {
      throw UserError("--minutes \(minutes); legal values: above 0, to 1e7")
    }
    if let stopAfter, StopRequest.seconds(stopAfter) == nil {
      throw UserError(
        "--stop-after \(stopAfter); legal values: a time such as 90s, 45m, 1h30m or 2d")
    }
  }
}
