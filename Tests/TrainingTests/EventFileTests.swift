// The event file for TensorBoard, read back by a reader that shares no code with its writer. launch/tensorboard.sh has
// TensorBoard's own read it.
import Foundation
import TestSupport
import Testing
import Training

/// Fields of a message of Protocol Buffers: number and content, integers as text.
private func fields(_ bytes: ArraySlice<UInt8>) -> [(field: Int, content: [UInt8])] {
  var (rest, found) = (bytes, [(field: Int, content: [UInt8])]())
  func variable() -> Int {
    var (value, shift) = (0, 0)
    while let byte = rest.popFirst() {
      value |= Int(byte & 127) << shift
      shift += 7
      if byte < 128 { break }
    }
    return value
  }
  while !rest.isEmpty {
    let key = variable()
    let content: [UInt8]
    switch key & 7 {
    case 0: content = Array("\(variable())".utf8)
    case 1: content = Array(rest.prefix(8))
    case 5: content = Array(rest.prefix(4))
    default:
      let count = variable()
      content = Array(rest.prefix(count))
    }
    if key & 7 != 0 { rest = rest.dropFirst(content.count) }
    found.append((key >> 3, content))
  }
  return found
}

private func number<Value: FixedWidthInteger>(_ bytes: some Collection<UInt8>, _: Value.Type)
  -> Value
{
  bytes.reversed().reduce(0) { $0 << 8 | Value($1) }
}

/// CRC-32C by division, bit for bit, and its mask.
private func maskedCheck(_ bytes: ArraySlice<UInt8>) -> UInt32 {
  var rest = UInt32.max
  for byte in bytes {
    rest ^= UInt32(byte)
    for _ in 0..<8 { rest = rest & 1 == 1 ? (rest >> 1) ^ 0x82F6_3B78 : rest >> 1 }
  }
  let check = ~rest
  return ((check >> 15) | (check << 17)) &+ 0xA282_EAD8
}

@Suite("Event files")
struct EventFileTests {
  @Test("the check of RFC 3720's examples")
  func check() {
    #expect(crc32c(Array("123456789".utf8)) == 0xE306_9283)
    #expect(crc32c([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(crc32c([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(crc32c(Array(0..<32)) == 0x46DD_794E)
  }

  @Test("each number of the metrics is in the event file, under its key and step")
  func scalars() throws {
    let tiny = try TinyRun()
    let more = ["--set", "run.evaluate_every=2", "--steps", "5"]
    #expect(try tiny.train("run", more).status == 0)
    let run = try ProgramRun(
      "reformer-train",
      arguments: ["report", tiny.output("run"), "--tensorboard", tiny.folder.path("board")])
    #expect(run.status == 0, "\(run.output)")
    let path = tiny.folder.path("board/run/events.out.tfevents.0.reformer-train")
    #expect(run.output.contains(tiny.folder.path("board")), "\(run.output)")
    var rest = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))[...]
    var found: [String: Float] = [:]
    var times: [Double] = []
    var version = ""
    while !rest.isEmpty {
      let length = rest.prefix(8)
      #expect(maskedCheck(length) == number(rest.dropFirst(8).prefix(4), UInt32.self))
      let data = rest.dropFirst(12).prefix(number(length, Int.self))
      rest = rest.dropFirst(12 + data.count)
      #expect(maskedCheck(data) == number(rest.prefix(4), UInt32.self))
      rest = rest.dropFirst(4)
      var step = ""
      for (field, content) in fields(data) {
        switch field {
        case 1: times.append(Double(bitPattern: number(content, UInt64.self)))
        case 2: step = String(decoding: content, as: UTF8.self)
        case 3: version = String(decoding: content, as: UTF8.self)
        default:
          for value in fields(content[...]) {
            let parts = fields(value.content[...])
            let name = String(decoding: parts[0].content, as: UTF8.self)
            found["\(name) \(step)"] = Float(bitPattern: number(parts[1].content, UInt32.self))
          }
        }
      }
    }
    #expect(version == "brain.Event:2")
    #expect(times == times.sorted() && times.first == 0 && times.last ?? 0 > 0)
    var expected: [String: Float] = [:]
    let text = try String(contentsOfFile: tiny.output("run/metrics.jsonl"), encoding: .utf8)
    for line in text.split(separator: "\n") where !line.contains("checkpoint_") {
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      let step = try #require(object["step"] as? Int)
      // Lists are no scalars.
      for (key, value) in object where key != "step" && !(value is [Any]) {
        expected["\(key) \(step)"] = Float(try #require(value as? NSNumber).doubleValue)
      }
    }
    #expect(found == expected)
    #expect(found.count > 5 * 10)
  }
}
