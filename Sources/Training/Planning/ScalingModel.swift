// Seconds of a step on many ranks, from the speed of one: the model that docs/scaling.md explains.
import Communication
import Reformer

/// What a machine and the network between machines do.
public struct MachineSpeed: Sendable {
  /// Seconds of one window, forward and backward, on one rank.
  public var windowSeconds: Double
  /// Bytes that a rank copies per second.
  public var copyBytesPerSecond: Double
  /// Bytes per second and direction of a machine's link; nil where all ranks share a machine.
  public var linkBytesPerSecond: Double?
  /// Seconds until a message arrives that has nothing in it.
  public var latencySeconds: Double

  /// All figures at once.
  public init(
    windowSeconds: Double, copyBytesPerSecond: Double, linkBytesPerSecond: Double?,
    latencySeconds: Double
  ) {
    self.windowSeconds = windowSeconds
    self.copyBytesPerSecond = copyBytesPerSecond
    self.linkBytesPerSecond = linkBytesPerSecond
    self.latencySeconds = latencySeconds
  }
}

/// The predicted seconds of a step.
public struct StepTime: Codable, Sendable {
  /// Spent on the rank's windows.
  public let computationSeconds: Double
  /// Spent on other ranks, computing nothing.
  public let exposedSeconds: Double
  /// All of it.
  public var seconds: Double { computationSeconds + exposedSeconds }
  /// The share of it that is computation.
  public var efficiency: Double { computationSeconds / seconds }

  /// The forward pass's part of a window's step (`benchmark --phases`).
  static let forwardShare = 0.22
  /// Processor time of a message.
  private static let messageSeconds = 1.5e-6
  /// Time of a question to MPI about a message under way, over TCP.
  private static let testSeconds = 1.0e-6
  /// Time between two looks at messages under way, each after a tile of the computation.
  private static let tileSeconds = 0.25e-3

  /// Predicts a step of `config` on `ranks` ranks, `ranksPerMachine` of which share a machine and its link.
  public init(
    _ config: RunConfig, ranks: Int, ranksPerMachine: Int, speed: MachineSpeed
  ) {
    let window = speed.windowSeconds
    computationSeconds = Double((config.run.globalBatch + ranks - 1) / ranks) * window
    guard ranks > 1 else {
      exposedSeconds = 0
      return
    }
    let layout = config.reformer.parameterLayout
    let groups = Double(layout.groups.count)
    let bytes = Double(layout.parameterCount) * Double(MemoryLayout<Float>.size)
    // What leaves a machine: of each of its ranks, the pieces of all ranks elsewhere.
    let share = Double(ranksPerMachine) * Double(ranks - ranksPerMachine) / Double(ranks)
    let parameterWay = speed.linkBytesPerSecond.map { bytes * share / $0 } ?? 0
    let gradientWay = config.run.wire == .bf16 ? parameterWay / 2 : parameterWay
    // What can only move while nothing is computed: about half a block's attention, a group's share.
    func exposed(_ seconds: Double, behind share: Double) -> Double {
      max(seconds / (3 * groups), seconds - share * window)
    }
    let gradients = exposed(gradientWay, behind: 1 - Self.forwardShare)
    let parameters = exposed(parameterWay, behind: Self.forwardShare)
    let addingUp = bytes / speed.copyBytesPerSecond
    let messages = 2 * 3 * groups * Double(ranks - 1) * Self.messageSeconds
    // Questions that a look asks while all have messages for all (`rank-check looks`).
    let tests = Double(min(8 + 4 * (ranks - 1), 20))
    let looks =
      min(gradientWay + parameterWay, computationSeconds) / Self.tileSeconds * tests
      * Self.testSeconds
    exposedSeconds =
      gradients + parameters + addingUp + messages + looks + 4 * speed.latencySeconds
  }
}
