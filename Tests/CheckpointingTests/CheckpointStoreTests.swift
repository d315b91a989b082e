import Checkpointing
import Foundation
import TestSupport
import Testing

@Suite("Checkpoint store")
struct CheckpointStoreTests {
  private let folder: TemporaryFolder
  private let store: CheckpointStore

  init() throws {
    folder = try TemporaryFolder()
    store = CheckpointStore(runFolder: folder.path("run"))
  }

  /// Writes a checkpoint of small files, `text` the one with moments.
  private func save(_ step: Int, text: String = "moments") throws {
    let partial = try store.begin(step: step)
    let files = try Manifest.fileNames(ranks: 1).map { name in
      try SmallFile.write(
        Array((name == Self.optimizer ? text : "\(name) \(step)").utf8), to: "\(partial)/\(name)")
    }
    let config = try #require(files.first { $0.name == Manifest.configName })
    try store.commit(
      Manifest(step: step, ranks: 1, configSHA256: config.sha256, files: files))
  }

  private static let optimizer = OptimizerShards.fileName(rank: 0, ranks: 1)

  private func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: store.runFolder).sorted()
  }

  private func newest() throws -> (step: Int?, broken: [String]) {
    var broken: [String] = []
    let folder = try store.newestComplete { broken.append($0.description) }
    return (try folder.map { try Manifest(folder: $0).step }, broken)
  }

  private func overwrite(_ file: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
  }

  @Test("a committed checkpoint is found with its manifest as written")
  func commit() throws {
    #expect(try newest().step == nil)
    try save(1200)
    let found = try #require(try store.newestComplete { Issue.record("\($0)") })
    #expect(found == "\(store.runFolder)/step-00001200")
    let manifest = try CheckpointStore.verify(found)
    #expect(manifest.format == Manifest.currentFormat && manifest.step == 1200)
    #expect(
      manifest.files.map(\.name) == [
        "model.safetensors", "config.toml", "config.json", "state.json",
        "optimizer-00000-of-00001.safetensors",
      ])
    #expect(try names() == ["step-00001200"])
  }

  @Test("what an interrupted run left is no checkpoint, and the next one clears it away")
  func interrupted() throws {
    try save(10)
    let partial = try store.begin(step: 20)
    try overwrite("\(partial)/model.safetensors", "half")
    #expect(try newest() == (10, []))
    #expect(try names() == ["step-00000010", "step-00000020.partial"])
    try FileManager.default.createDirectory(
      atPath: "\(store.runFolder)/step-00000005.removing", withIntermediateDirectories: false)
    try store.begin(step: 30)
    #expect(try names() == ["step-00000010", "step-00000030.partial"])
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: store.partialFolder(step: 30)).isEmpty)
  }

  @Test("commit refuses a listed file that is missing or has another size")
  func incompleteCommit() throws {
    let partial = try store.begin(step: 7)
    let digest = FileDigest(name: "model.safetensors", bytes: 3, sha256: "x")
    let manifest = Manifest(step: 7, ranks: 1, configSHA256: "", files: [digest])
    #expect(throws: CheckpointError.self) { try store.commit(manifest) }
    try overwrite("\(partial)/model.safetensors", "four")
    #expect(throws: CheckpointError.self) { try store.commit(manifest) }
    #expect(try newest().step == nil)
    try overwrite("\(partial)/model.safetensors", "abc")
    try store.commit(manifest)
    #expect(try store.steps() == [7])
  }

  @Test("a checkpoint that stands in the way is replaced")
  func replace() throws {
    try save(4, text: "first")
    try overwrite("\(store.folder(step: 4))/\(Self.optimizer)", "damaged")
    #expect(try newest().step == nil)
    try save(4, text: "second")
    #expect(try newest() == (4, []))
    #expect(try names() == ["step-00000004"])
    #expect(
      try String(contentsOfFile: "\(store.folder(step: 4))/\(Self.optimizer)", encoding: .utf8)
        == "second")
  }

  @Test("a replaced checkpoint comes back when the new one never arrived")
  func interruptedReplacement() throws {
    try save(4, text: "first")
    // As a kill between the two renames of a replacement leaves it.
    try FileManager.default.moveItem(
      atPath: store.folder(step: 4), toPath: store.folder(step: 4) + ".replaced")
    try store.removeLeftovers()
    #expect(try newest() == (4, []))
    // And as a kill after them does.
    try FileManager.default.copyItem(
      atPath: store.folder(step: 4), toPath: store.folder(step: 4) + ".replaced")
    try store.removeLeftovers()
    #expect(try names() == ["step-00000004"])
  }

  @Test("a failed checkpoint leaves nothing behind")
  func discard() throws {
    try save(4)
    try overwrite("\(store.begin(step: 5))/model.safetensors", "half")
    store.discard(step: 5)
    #expect(try names() == ["step-00000004"])
    store.discard(step: 6)
    #expect(try newest() == (4, []))
  }

  @Test("the best checkpoint has a link that follows it, and spared steps stay")
  func best() throws {
    for step in [1, 2, 3, 4] { try save(step) }
    try store.markBest(step: 1)
    try store.markBest(step: 2)
    #expect(try CheckpointStore.verify(folder.path("run/best")).step == 2)
    try store.removeOld(keep: 1, upTo: 4) { $0 == 2 }
    #expect(try names() == ["best", "step-00000002", "step-00000004"])
    #expect(try store.steps() == [2, 4])
  }

  @Test(
    "damage is reported by file and reason, and the next older checkpoint is taken",
    arguments: [
      ("config.json", "config.json 3", "/step-00000002/config.json: has other content"),
      (
        "state.json", "longer text",
        "/step-00000002/state.json: is 11 bytes long; the manifest says 12"
      ),
      ("state.json", nil, "/step-00000002/state.json: cannot be opened (No such file"),
      ("manifest.json", nil, "/step-00000002/manifest.json: cannot be opened (No such file"),
      ("manifest.json", "{", "manifest.json: is not a manifest: it is no JSON"),
      ("manifest.json", "{\"format\": 1}", "manifest.json: is not a manifest: it has no \"step\""),
      ("manifest.json", "{\"format\": 9}", "manifest.json: has format 9"),
      (
        "manifest.json",
        #"{"format":2,"step":2,"ranks":1,"config_sha256":"","files":[]}"#,
        "manifest.json: has other content than when it was written (seal differs)"
      ),
      (
        "manifest.json",
        #"{"format":0,"step":2,"ranks":1,"config_sha256":"","files":[]}"#,
        "manifest.json: has format 0"
      ),
      (
        "manifest.json",
        #"{"format":1,"step":2,"ranks":"1","config_sha256":"","files":[]}"#,
        "manifest.json: is not a manifest: \"ranks\" has the wrong type"
      ),
      (
        "manifest.json",
        #"{"format":1,"step":2,"ranks":1,"config_sha256":"","files":[]}"#,
        "manifest.json: lists 0 files for 1 ranks"
      ),
      (
        "manifest.json",
        #"{"format":1,"step":2,"ranks":1,"config_sha256":"","#
          + #""files":[{"name":"../x","bytes":1,"sha256":""}]}"#,
        "manifest.json: lists \"../x\", which is no plain file name"
      ),
    ])
  func damage(file: String, content: String?, expected: String) throws {
    try save(1)
    try save(2)
    let path = "\(store.folder(step: 2))/\(file)"
    if let content {
      try overwrite(path, content)
    } else {
      try FileManager.default.removeItem(atPath: path)
    }
    let (step, broken) = try newest()
    #expect(step == 1)
    #expect(broken.count == 1)
    #expect(broken.first?.contains(expected) == true, "\(broken)")
    #expect(broken.first?.contains("\n") == false)
  }

  @Test("a manifest of another step than its folder's is damage")
  func otherStep() throws {
    for step in [1, 2] { try save(step) }
    try FileManager.default.moveItem(
      atPath: store.folder(step: 2), toPath: store.folder(step: 3))
    #expect(try newest() == (1, ["\(store.folder(step: 3))/manifest.json: is of step 2"]))
  }

  @Test("a checkpoint has just the files that it should have, and the config it was made for")
  func exactFiles() throws {
    let other = OptimizerShards.fileName(rank: 1, ranks: 2)
    let whole = Manifest.fileNames(ranks: 1)
    // Step, names, sha of the config or another, what is said.
    let cases: [([String], Bool, String)] = [
      ([], true, "lists 0 files for 1 ranks"),
      (whole.filter { $0 != "model.safetensors" }, true, "does not list model.safetensors"),
      (whole.filter { $0 != "state.json" }, true, "does not list state.json"),
      (whole.filter { $0 != Self.optimizer }, true, "does not list \(Self.optimizer)"),
      (whole + [other], true, "lists \(other), which no checkpoint of 1 ranks has"),
      (
        whole + [StreamFiles.fileName(rank: 1, ranks: 2)], true,
        "does not list \(StreamFiles.fileName(rank: 0, ranks: 1))"
      ),
      (whole, false, "has another config_sha256 than that of its config.toml"),
    ]
    for (step, (names, isItsConfig, expected)) in cases.enumerated() {
      let partial = try store.begin(step: step)
      let files = try names.map { try SmallFile.write(Array($0.utf8), to: "\(partial)/\($0)") }
      let config = isItsConfig ? SHA256.digits(of: "config.toml".utf8) : "c0ffee"
      try store.commit(Manifest(step: step, ranks: 1, configSHA256: config, files: files))
      let error = #expect(throws: CheckpointError.self) {
        try CheckpointStore.verify(store.folder(step: step))
      }
      #expect(error?.description.contains("manifest.json: \(expected)") == true, "\(error as Any)")
    }
  }

  @Test("later steps are set aside under names that no resume takes, with a link to one of them")
  func setAside() throws {
    for step in [1, 2, 3, 4] { try save(step) }
    try store.markBest(step: 4)
    #expect(try store.setAside(after: 2) == ["step-00000003.aside", "step-00000004.aside"])
    #expect(try newest() == (2, []))
    #expect(
      try names() == [
        "step-00000001", "step-00000002", "step-00000003.aside", "step-00000004.aside",
      ])
    // A second time, and with nothing to keep; what is aside stays through the next checkpoint.
    try store.markBest(step: 1)
    try save(3)
    #expect(try store.setAside(after: 2) == ["step-00000003.aside2"])
    #expect(try CheckpointStore.verify(folder.path("run/best")).step == 1)
    #expect(try store.setAside(after: 2).isEmpty)
    #expect(try store.setAside(after: nil) == ["step-00000001.aside", "step-00000002.aside"])
    try save(7)
    try store.removeOld(keep: 1, upTo: 7)
    #expect(try names().count == 6)
    #expect(try CheckpointStore.verify(folder.path("run/step-00000003.aside2")).step == 3)
  }

  @Test("only the newest stay, and steps beyond the current one are left alone")
  func removeOld() throws {
    for step in [1, 2, 30, 100_000_000, 5] { try save(step) }
    #expect(try store.steps() == [1, 2, 5, 30, 100_000_000])
    try store.removeOld(keep: 2, upTo: 30)
    #expect(try names() == ["step-00000005", "step-00000030", "step-100000000"])
    #expect(try newest() == (100_000_000, []))
    try store.removeOld(keep: 9, upTo: 100_000_000)
    #expect(try store.steps() == [5, 30, 100_000_000])
  }

  @Test("files and folders of other names are no steps")
  func otherNames() throws {
    try save(3)
    for name in ["step-3", "step-000000x3", "step-00000004.old", "step--0000001", "metrics.jsonl"] {
      try overwrite("\(store.runFolder)/\(name)", "")
    }
    #expect(try store.steps() == [3])
  }

  @Test("a run folder that cannot be made is one clear line")
  func noFolder() throws {
    try overwrite(folder.path("file"), "")
    let blocked = CheckpointStore(runFolder: folder.path("file/run"))
    do throws(CheckpointError) {
      try blocked.begin(step: 1)
      Issue.record("made a folder below a file")
    } catch {
      #expect(error.description.hasPrefix("\(folder.path("file/run")): cannot be made a folder ("))
      #expect(!error.description.contains("\n"))
    }
  }
}
