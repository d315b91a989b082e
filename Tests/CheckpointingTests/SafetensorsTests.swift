import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing

@Suite("Safetensors files")
struct SafetensorsTests {
  /// A file of this header text and so many zero bytes of data.
  private func file(_ folder: TemporaryFolder, _ json: String, data: Int) throws -> String {
    let length = withUnsafeBytes(of: UInt64(json.utf8.count).littleEndian) { Array($0) }
    return try folder.write(
      "a.safetensors", length + Array(json.utf8) + [UInt8](repeating: 0, count: data))
  }

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test("what is written is read back, with names, shapes and metadata as they were")
  func roundTrip() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    // More than one piece of writing, and no multiple of anything.
    let large = Buffer<Float>(600_011)
    for i in 0..<large.count { large.view[i] = Float(i) * 0.5 - 7 }
    let small = Buffer<Float>(6)
    small.view.copy(from: [1, -0.0, .infinity, .leastNonzeroMagnitude, .nan, 3])
    let empty = Buffer<Float>(0)
    let metadata = ["format": "pt", "quote \" \\ \n": "\u{1F600} text\u{1}"]
    let digest = try SafetensorsWriter.write(
      [
        TensorToWrite(name: "z.\"odd\" name", shape: [600_011], values: large.view),
        TensorToWrite(name: "a", shape: [2, 3], values: small.view),
        TensorToWrite(name: "none", shape: [0, 4], values: empty.view),
        TensorToWrite(name: "scalar", shape: [], values: small.view[5..<6]),
      ], metadata: metadata, to: folder.path("m.safetensors"))
    let reader = try SafetensorsReader(folder.path("m.safetensors"))
    #expect(reader.metadata == metadata)
    #expect(Set(reader.tensors.map(\.name)) == ["z.\"odd\" name", "a", "none", "scalar"])
    #expect(reader.tensor("a")?.shape == [2, 3])
    #expect(reader.tensor("scalar")?.shape == [])
    #expect(try reader.floats("z.\"odd\" name") == large.view.array)
    #expect(try reader.floats("a").map(\.bitPattern) == small.view.array.map(\.bitPattern))
    #expect(try reader.floats("none") == [])
    #expect(try reader.floats("scalar") == [3])
    let part = Buffer<Float>(3)
    try reader.read("a", elements: 1..<4, into: part.view)
    #expect(part.view.array == [-0.0, .infinity, .leastNonzeroMagnitude])
    #expect(try FileDigest(path: folder.path("m.safetensors")) == digest)
    #expect(digest.name == "m.safetensors")
  }

  @Test("the digest is SHA-256 as other tools compute it")
  func knownDigest() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    // FIPS 180-2, appendix B.1.
    let digest = try FileDigest(path: folder.write("abc", text: "abc"))
    #expect(digest.bytes == 3)
    #expect(
      digest.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test("64-bit integers are read, and not taken for floats")
  func integers() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let json = #"{"ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}"#
    let length = withUnsafeBytes(of: UInt64(json.utf8.count).littleEndian) { Array($0) }
    let values = [Int64.min, 258].flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
    let path = try folder.write("i.safetensors", length + Array(json.utf8) + values)
    let reader = try SafetensorsReader(path)
    #expect(try reader.integers("ids") == [Int64.min, 258])
    #expect(message { _ = try reader.floats("ids") }.contains("tensor ids has type I64"))
    #expect(message { _ = try reader.floats("id") }.contains("no tensor id"))
  }

  @Test(
    "a broken header is refused by file and tensor, in one line",
    arguments: [
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 8, "expected '}'"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x"#, 8, "end of the header"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}"#, 8, "header is broken"),
      (#"[1]"#, 0, "expected '{'"),
      (#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, 8, "a has unknown type \"F33\""),
      (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "whole number >= 0"),
      (#"{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}"#, 8, "header is broken"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "F32 [2] needs 8"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "data_offsets [8, 0]"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8, "data_offsets [0]"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7, "it was cut short"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "its tensors fill 8"),
      (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "tensor a starts"),
      (#"{"a":{"dtype":"F32","shape":[2]}}"#, 8, "tensor a has no \"data_offsets\""),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#, 8, "unknown entry \"x\""),
      (
        #"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8,
        "two entries \"dtype\""
      ),
      (
        #"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0,
        "tensor a has an impossible shape"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,0]}}"#, 0,
        "number too large"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
          + #""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8,
        "two entries are named \"a\""
      ),
      (
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#
          + #""b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12,
        "tensor b starts at data byte 4, expected 8: it overlaps"
      ),
      (
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
          + #""b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#, 12,
        "tensor b starts at data byte 8, expected 4: it leaves a gap"
      ),
      (#"{"__metadata__":{"a":"1","a":"2"}}"#, 0, "two metadata entries are named \"a\""),
      (#"{"__metadata__":{"a":1}}"#, 0, "header is broken"),
      (#"{"\uD800x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, 0, "broken \\u escape"),
      ("{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "control"),
      (#"{"a"#, 0, "text without an end"),
    ])
  func broken(json: String, data: Int, expected: String) throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = try file(folder, json, data: data)
    let text = message { _ = try SafetensorsReader(path) }
    #expect(text.hasPrefix("\(path): "))
    #expect(text.contains(expected), "\(text)")
    #expect(!text.contains("\n"))
  }

  @Test(
    "a file that is too short for its header is refused",
    arguments: [
      [], [1, 2, 3], [255, 255, 255, 255, 255, 255, 255, 255], [9, 0, 0, 0, 0, 0, 0, 0],
    ])
  func shortFile(bytes: [UInt8]) throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = try folder.write("s.safetensors", bytes)
    #expect(message { _ = try SafetensorsReader(path) }.contains("no safetensors file"))
  }

  @Test("a missing file and a folder are refused by name")
  func noFile() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    #expect(
      message { _ = try SafetensorsReader(folder.path("x")) }
        == "\(folder.path("x")): cannot be opened (No such file or directory)")
    #expect(
      message { _ = try SafetensorsReader(folder.path) }.hasSuffix("is not a regular file"))
  }
}
