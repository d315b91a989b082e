// A clock for the parts of a step, read by `benchmark`. Every thread has a stopwatch of its own; a task takes
// a lap after each of its parts, so the parts of all threads and the time they wait add up to the step.
import Glibc
import Synchronization

/// The parts of a step that are timed.
public enum Phase: Int, CaseIterable, Sendable {
  /// Token and position embedding, both directions.
  case embedding
  /// Streams read as floats, LayerNorm and its gradient.
  case norm
  /// Query, key, value and output projections, and the gradients of their inputs.
  case projections
  /// Key scales, rotations and buckets.
  case hash
  /// Positions in bucket order.
  case sort
  /// Rows of queries, keys and values in list order, laid out for products.
  case gather
  /// Queries times keys, and the gradients of both.
  case scores
  /// Masks, exponentials and sums, and their gradient.
  case softmax
  /// Probabilities times values, and the gradients of both.
  case values
  /// Rounds merged into one softmax.
  case merge
  /// Gradients in list order added to their positions.
  case scatter
  /// Both products of the feed-forward layer, and the gradients of their inputs.
  case feedForward
  /// Rounded contributions added to the streams.
  case streams
  /// Weights and activations copied into strips.
  case layout
  /// Gradients of all weights and biases.
  case weightGradients
  /// Logits, cross-entropy and the gradients of their inputs, and of the norm before.
  case loss
  /// Sum of gradients over samples and ranks.
  case reduction
  /// Update of moments and parameters.
  case optimizer
}

/// The stopwatch of one thread.
///
/// Off unless a benchmark asks for it: then a lap costs some 20 ns.
public final class LapTimer: @unchecked Sendable {
  // A thread that finds no task left may look at these two while they are set for the next computation.
  private let running = Atomic<Bool>(false)
  private let last = Atomic<Int>(0)
  private(set) var nanoseconds = [Int](repeating: 0, count: Phase.allCases.count)

  var isRunning: Bool { running.load(ordering: .relaxed) }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// Starts a lap.
  func start() {
    if isRunning { last.store(Self.now(), ordering: .relaxed) }
  }

  /// Gives the time since the start or the lap before to `phase`.
  func lap(_ phase: Phase) {
    guard isRunning else { return }
    let now = Self.now()
    nanoseconds[phase.rawValue] += now - last.exchange(now, ordering: .relaxed)
  }

  func reset(running isRunning: Bool) {
    // A thread that goes on from one computation to the next does not start a lap in between.
    last.store(Self.now(), ordering: .relaxed)
    running.store(isRunning, ordering: .relaxed)
    for index in nanoseconds.indices { nanoseconds[index] = 0 }
  }
}
