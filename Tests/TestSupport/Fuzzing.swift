// Feeds a reader damaged inputs. A trap ends the test process, which is what should happen; the long form
// keeps the input on disk so that it can be looked at.
import Foundation

/// How much to try: the short form of the test suite, or what `launch/fuzz.sh` asks for.
public struct Fuzzing {
  private let inputs: Int
  private let seed: UInt64
  private let trace: String?

  /// The short form of `inputs` inputs unless the environment says otherwise.
  public init(inputs: Int) {
    let environment = ProcessInfo.processInfo.environment
    self.inputs = environment["FUZZ_INPUTS"].flatMap { Int($0) } ?? inputs
    seed = environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
    trace = environment["FUZZ_TRACE"]
  }

  /// Reads `samples` and mutations of them; nil when all went well, else what did not.
  ///
  /// `read` throws what the reader throws; its message must be one line that begins with `name`. That no
  /// mutation is refused, or none accepted, is wrong as well: the reader is then not reached.
  public func problem(
    _ name: String, samples: [[UInt8]], words: [String] = [], read: ([UInt8]) throws -> Void
  ) throws -> String? {
    for sample in samples { try read(sample) }
    var mutator = Mutator(samples: samples, words: words, seed: seed)
    var refused = 0
    var slowest = Duration.zero
    for _ in 0..<inputs {
      let input = mutator.next()
      if let trace {
        let file = name.split(separator: "/").last ?? "input"
        try Data(input).write(to: URL(fileURLWithPath: "\(trace)/\(file)"))
      }
      let start = ContinuousClock.now
      defer { slowest = max(slowest, ContinuousClock.now - start) }
      do { try read(input) } catch {
        refused += 1
        let text = "\(error)"
        if text.contains("\n") || !text.hasPrefix(name) {
          return "message: \(text)\ninput: \(String(decoding: input, as: UTF8.self))"
        }
      }
    }
    // A few hundred bytes take microseconds; this much is no busy machine but a loop.
    if slowest > .seconds(20) { return "one input took \(slowest)" }
    return refused > 0 && refused < inputs ? nil : "\(refused) of \(inputs) inputs refused"
  }
}
