// The figures of a run as TensorBoard reads them: an event file of scalars. Its records are framed as TFRecords
// (length, checksum, data, checksum), its data are messages of event.proto and summary.proto of TensorFlow.
import Foundation

/// An event file of a run's metrics.
struct EventFile {
  private(set) var bytes: [UInt8] = []

  /// The numbers of all of `metrics`, each under the name of its key.
  ///
  /// The times of events are seconds of work since the first step: so the page that TensorBoard draws has the run's own
  /// clock, pauses left out, and the same metrics give the same bytes.
  init(_ metrics: MetricsFile) {
    append(Message().double(1, 0).string(3, "brain.Event:2"))
    var time = 0.0
    var evaluations = metrics.evaluations[...]
    for record in metrics.steps {
      time += record.stepSeconds ?? 0
      add(record, .step, time: time)
      while let next = evaluations.first, next.step <= record.step {
        time += next.validationSeconds ?? 0
        add(next, .evaluation, time: time)
        evaluations.removeFirst()
      }
    }
  }

  private mutating func add(_ record: MetricsRecord, _ event: MetricKey.Event, time: Double) {
    var summary = Message()
    for key in MetricKey.all where key.event == event {
      guard let value = key.number(record) else { continue }
      summary = summary.message(1, Message().string(1, key.name).float(2, Float(value)))
    }
    append(Message().double(1, time).integer(2, record.step).message(5, summary))
  }

  /// Adds one record.
  private mutating func append(_ message: Message) {
    let length = littleEndian(UInt64(message.bytes.count))
    bytes += length + littleEndian(Self.checksum(length))
    bytes += message.bytes + littleEndian(Self.checksum(message.bytes))
  }

  /// CRC-32C, masked as TFRecords have it: a checksum of data that holds checksums would say little.
  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    let sum = crc32c(bytes)
    return (sum >> 15 | sum << 17) &+ 0xa282_ead8
  }
}

/// The cyclic redundancy check with Castagnoli's polynomial (RFC 3720, appendix B.4).
package func crc32c(_ bytes: [UInt8]) -> UInt32 {
  ~bytes.reduce(~UInt32(0)) { castagnoli[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
}

/// What each byte does to the check.
private let castagnoli: [UInt32] = (0..<256).map { byte in
  (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82f6_3b78 : sum >> 1 }
}

private func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian, Array.init)
}

/// A message of Protocol Buffers, field by field.
private struct Message {
  private(set) var bytes: [UInt8] = []

  func double(_ field: Int, _ value: Double) -> Message {
    adding(field, wire: 1, littleEndian(value.bitPattern))
  }

  func float(_ field: Int, _ value: Float) -> Message {
    adding(field, wire: 5, littleEndian(value.bitPattern))
  }

  func integer(_ field: Int, _ value: Int) -> Message {
    adding(field, wire: 0, Self.variable(value))
  }

  func string(_ field: Int, _ text: String) -> Message {
    adding(field, wire: 2, Self.variable(text.utf8.count) + text.utf8)
  }

  func message(_ field: Int, _ inner: Message) -> Message {
    adding(field, wire: 2, Self.variable(inner.bytes.count) + inner.bytes)
  }

  private func adding(_ field: Int, wire: Int, _ value: [UInt8]) -> Message {
    var longer = self
    longer.bytes += Self.variable(field << 3 | wire) + value
    return longer
  }

  /// Seven bits a byte, least first; all but the last have the eighth bit.
  private static func variable(_ value: Int) -> [UInt8] {
    var (rest, bytes) = (UInt64(bitPattern: Int64(value)), [UInt8]())
    while rest > 127 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 128)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
}
