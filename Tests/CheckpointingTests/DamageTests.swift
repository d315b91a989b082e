import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing

/// Whatever happens to one byte of a checkpoint is noticed.
@Suite("Damage to a checkpoint")
struct DamageTests {
  private let folder: TemporaryFolder
  private let stepFolder: String
  private let manifest: Manifest

  init() throws {
    folder = try TemporaryFolder()
    let store = CheckpointStore(runFolder: folder.path)
    let layout = ParameterLayout(groups: [("g", [("w", [9, 5]), ("b", [9])])])
    let values = Buffer<Float>(layout.count)
    for i in 0..<layout.count { values.view[i] = Float(i) }
    let partial = try store.begin(step: 12)
    let files = [
      try ModelFile.write(layout: layout, parameters: values.view, to: partial),
      try OptimizerShards.write(
        layout: layout, shards: Moments.of([0..<layout.count]) { Float($0) }, rank: 0, ranks: 1,
        to: partial),
      try SmallFile.write(Array("[run]\nsteps = 3\n".utf8), to: partial + "/config.toml"),
      try SmallFile.write(Array("{}\n".utf8), to: partial + "/config.json"),
      try SmallFile.write(Array("{\"step\": 12}\n".utf8), to: partial + "/state.json"),
    ]
    manifest = Manifest(step: 12, ranks: 1, configSHA256: files[2].sha256, files: files)
    try store.commit(manifest)
    stepFolder = store.folder(step: 12)
  }

  private var names: [String] { manifest.files.map(\.name) + [Manifest.name] }

  private func content(_ name: String) throws -> [UInt8] {
    try Array(Data(contentsOf: URL(fileURLWithPath: stepFolder + "/" + name)))
  }

  private func expectSeen(_ name: String, _ bytes: [UInt8], _ what: String) throws {
    try folder.write("step-00000012/\(name)", bytes)
    do throws(CheckpointError) {
      _ = try CheckpointStore.verify(stepFolder)
      Issue.record("\(name): \(what) was not noticed")
    } catch {
      // A manifest whose list is damaged names the file that it lists.
      #expect(name == Manifest.name || error.file.hasSuffix(name), "\(error)")
    }
  }

  @Test("a changed byte of the manifest, each in turn, is noticed")
  func eachByteOfTheManifest() throws {
    let whole = try content(Manifest.name)
    for place in whole.indices {
      for bit in 0..<8 {
        var damaged = whole
        damaged[place] ^= 1 << UInt8(bit)
        #expect(throws: CheckpointError.self, "bit \(bit) of byte \(place)") {
          try Manifest(bytes: damaged, path: "manifest.json")
        }
      }
      #expect(throws: CheckpointError.self, "a cut to \(place) bytes") {
        try Manifest(bytes: Array(whole[..<place]), path: "manifest.json")
      }
    }
    #expect(try Manifest(bytes: whole, path: "manifest.json") == self.manifest)
  }

  @Test("a changed byte, a cut, and bytes too many in any file are noticed")
  func files() throws {
    for name in names {
      let whole = try content(name)
      // Steps that share no factor with the formats' units; every byte is for the long form.
      for place in stride(from: 0, to: whole.count, by: 7) {
        var damaged = whole
        damaged[place] ^= 1 << UInt8(place % 8)
        try expectSeen(name, damaged, "a change of byte \(place)")
      }
      for length in stride(from: 0, to: whole.count, by: 53) {
        try expectSeen(name, Array(whole[..<length]), "a cut to \(length) bytes")
      }
      try expectSeen(name, Array(whole.dropLast()), "the last byte missing")
      try expectSeen(name, whole + [0x20], "a byte more")
      try folder.write("step-00000012/\(name)", whole)
    }
    #expect(try CheckpointStore.verify(stepFolder) == self.manifest)
  }
}
