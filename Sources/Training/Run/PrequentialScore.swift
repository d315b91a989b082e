// How well bytes are predicted before they are learnt: what an online compressor would need for them.
import Foundation

/// Prequential bits per byte: the mean cost of the training bytes, each when it is trained on for the first time.
///
/// Windows of an epoch but the first do not count. A window of the first epoch costs its loss, the step's own
/// parameters before the step, dropout included; 8 bits per byte where the step has no finite loss. Skipped steps
/// count. Bytes of the training split that no window of an epoch predicts cost 8 bits; they are counted as windows
/// come, in proportion, so that after an epoch each byte of the split has counted once.
package struct PrequentialScore: Codable, Equatable, Sendable {
  private var bits = 0.0
  /// Bytes counted so far.
  package private(set) var bytes = 0.0

  /// The mean; nil before the first byte.
  package var bitsPerByte: Double? { bytes > 0 ? bits / bytes : nil }

  /// Whether both numbers are ones that a run can have come to.
  var isPossible: Bool { bits.isFinite && bytes.isFinite && bits >= 0 && bytes >= 0 }

  /// A score of nothing.
  package init() {}

  /// Adds a window: `nats` per byte over `bytes` bytes, with so many bytes for each that none predicts.
  package mutating func add(nats: Double, bytes count: Int, unscored: Double) {
    let count = Double(count)
    bits += count * ((nats.isFinite ? nats / log(2) : 8) + 8 * unscored)
    bytes += count * (1 + unscored)
  }
}
