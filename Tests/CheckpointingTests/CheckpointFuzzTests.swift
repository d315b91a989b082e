import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing

/// Readers of checkpoint files against inputs that nobody has written on purpose; `launch/fuzz.sh` tries
/// millions, here it is what a few seconds allow.
@Suite("Damaged checkpoint files never crash a reader")
struct CheckpointFuzzTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private static let layout = ParameterLayout(groups: [
    ("embeddings", [("word", [16, 3])]), ("layers.0", [("w", [5, 7]), ("b", [5])]),
  ])

  @Test("headers of tensor files", .timeLimit(.minutes(60)))
  func header() throws {
    let samples = [
      #"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","#
        + #""shape":[1],"data_offsets":[24,32]}}"#,
      #"{"__metadata__":{"format":"pt","range.g":"0-16"},"x":{"dtype":"BF16","shape":[],"#
        + #""data_offsets":[0,2]},"y":{"dtype":"F32","shape":[0,9],"data_offsets":[2,2]}}"#,
      #" { "\u00e9\"\\" : { "data_offsets" : [ 0 , 32 ] , "shape":[8], "dtype" : "F32" } } "#,
    ].map { Array($0.utf8) }
    let sizes = [32, 2, 32]
    let problem = try Fuzzing(inputs: 75_000).problem(
      "header", samples: samples,
      words: [
        "\"dtype\":\"F64\"", "\"shape\":[4611686018427387904,4]", "\"data_offsets\":[0,4]",
        "__metadata__", "\"shape\":[0,9223372036854775807]", "[32,0]",
      ]
    ) { input in
      // Mutations of a sample keep its size in one case of three, which is enough to be accepted.
      let sample = samples.firstIndex(of: input) ?? input.count % 3
      let header = try SafetensorsHeader(
        json: input, dataByteCount: sizes[sample], file: "header")
      // What is accepted fills the data exactly.
      #expect(header.dataByteCount == sizes[sample])
      #expect(header.tensors.allSatisfy { $0.shape.reduce($0.type.byteCount, *) >= 0 })
    }
    #expect(problem == nil)
  }

  @Test("whole tensor files, as model and as moments", .timeLimit(.minutes(60)))
  func files() throws {
    let layout = Self.layout
    let values = Buffer<Float>(layout.count)
    _ = try ModelFile.write(layout: layout, parameters: values.view, to: folder.path)
    let half = layout.groups[0].range.upperBound
    for (rank, range) in [0..<half, half..<layout.count].enumerated() {
      _ = try OptimizerShards.write(
        layout: layout, shards: Moments.of([range]) { _ in 0 }, rank: rank, ranks: 2,
        to: folder.path)
    }
    func content(_ name: String) throws -> [UInt8] {
      try Array(Data(contentsOf: URL(fileURLWithPath: folder.path(name))))
    }
    let model = folder.path(ModelFile.name)
    let problem = try Fuzzing(inputs: 400).problem(
      model, samples: [content(ModelFile.name)], words: ["\"F16\"", "[16,3]", "\"w\"", "\"b\""]
    ) { input in
      try folder.write(ModelFile.name, input)
      try ModelFile.read(model, layout: layout, into: values.view)
    }
    #expect(problem == nil)
    let shard = OptimizerShards.fileName(rank: 1, ranks: 2)
    let moments = Moments.of([0..<layout.count]) { _ in 0 }
    // Any of the shards may be the one to be named, or the folder where a part is missing.
    let shardProblem = try Fuzzing(inputs: 400).problem(
      folder.path, samples: [content(shard)],
      words: ["0-\(half)", "\(half)-\(layout.count)", "--", "#1", "range.layers.0", "9-8"]
    ) { input in
      try folder.write(shard, input)
      let shards = try OptimizerShards(folder: folder.path, ranks: 2, layout: layout)
      for moment in moments { try shards.read(into: moment) }
    }
    #expect(shardProblem == nil)
  }

  @Test("manifests", .timeLimit(.minutes(60)))
  func manifest() throws {
    // Format 1 has no seal, so that more of the reader is reached.
    let samples = [
      #"{"format":1,"step":20,"ranks":2,"config_sha256":"c0ffee","files":[{"name":"a","bytes":3,"#
        + #""sha256":"00"},{"name":"b","bytes":0,"sha256":""}]}"#,
      #"{"files" : [], "format" : 1, "step" : 0, "ranks" : 1, "config_sha256" : ""}"#,
    ].map { Array($0.utf8) }
    let problem = try Fuzzing(inputs: 15_000).problem(
      "manifest.json", samples: samples,
      words: ["\"format\":2", "\"seal\":\"\(String(repeating: "a", count: 64))\"", "\"../b\""]
    ) { input in
      let manifest = try Manifest(bytes: input, path: "manifest.json")
      // An imported model is of no ranks.
      #expect(manifest.step >= 0 && manifest.ranks >= 0)
    }
    #expect(problem == nil)
  }
}
