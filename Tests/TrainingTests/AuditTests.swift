// What `audit` says of strict and of other models.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Audit", .serialized)
struct AuditTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private struct Report: Decodable {
    struct Change: Decodable {
      let change: String
      let kinds: [String: Double]
      let changed_share: Double
      let bits_per_byte_effect: Double
    }
    let claims_strict: Bool
    let changed_share: Double
    let bits_per_byte_effect: Double
    let changes: [Change]
  }

  private func audit(_ name: String, _ sight: String) throws -> Report {
    let model = [
      "--set", "model.layers=[\"local\", \"lsh\"]", "--set", "attention.lsh.sight=\(sight)",
      "--steps", "5",
    ]
    let training = try tiny.train(name, model)
    try #require(training.status == 0, "\(training.output)")
    let run = try ProgramRun(
      "reformer-train", arguments: ["audit", tiny.output(name), "--windows", "6", "--json"])
    #expect(run.status == 0, "\(run.output)")
    let start = try #require(run.output.firstIndex(of: "{"), "\(run.output)")
    return try JSONDecoder().decode(Report.self, from: Data(run.output[start...].utf8))
  }

  @Test("nothing later changes a bit of a strict model")
  func strict() throws {
    let report = try audit("strict", "bucket")
    #expect(report.claims_strict)
    #expect(report.changed_share == 0 && report.bits_per_byte_effect == 0)
    #expect(report.changes.map(\.change) == ["last byte", "a suffix", "second half"])
    for change in report.changes {
      #expect(change.kinds == ["local": 0, "lsh": 0, "feed-forward": 0])
    }
    let run = try ProgramRun("reformer-train", arguments: ["audit", tiny.output("strict")])
    #expect(run.status == 0 && run.output.contains("strict: no bit"), "\(run.output)")
  }

  // OpenBLAS makes no promise that a row of a product has the same bits wherever it stands.
  @Test("a claim that does not hold for lack of strict products")
  func broken() throws {
    _ = try audit("strict", "bucket")
    for core in ["Haswell", "Nehalem"] {
      let run = try ProgramRun(
        "reformer-train",
        arguments: [
          "audit", tiny.output("strict"), "--windows", "6", "--set",
          "run.matrix_products=openblas",
        ], environment: ["OPENBLAS_CORETYPE": core])
      #expect(run.status == 1, "\(run.output)")
      #expect(run.output.contains("NOT strict, though every layer claims to be"))
      #expect(run.output.contains("error: the model claims to be strict"))
    }
  }

  @Test("the paper's sight is found out, in its layers alone, and claims nothing")
  func chunks() throws {
    let report = try audit("chunks", "chunks")
    #expect(!report.claims_strict)
    let half = try #require(report.changes.last)
    #expect(half.changed_share > 0.1 && half.bits_per_byte_effect != 0)
    #expect(try #require(half.kinds["lsh"]) > 0.1)
    #expect(half.kinds["local"] == 0 && half.kinds["feed-forward"] == 0)
  }

  @Test("a claim that does not hold is broken, any other is not")
  func verdict() {
    func report(claims: Bool, layers: Int, logits: Int) -> AuditReport {
      var counts = AuditReport.Counts()
      counts.kinds["lsh"] = .init(changed: layers, positions: 10)
      counts.logits = .init(changed: logits, positions: 10)
      counts.bits = 5
      return AuditReport(claimsStrict: claims, windows: 1, length: 11, counts: [("one", counts)])
    }
    #expect(!report(claims: true, layers: 0, logits: 0).breaksItsClaim)
    #expect(report(claims: true, layers: 1, logits: 0).breaksItsClaim)
    #expect(report(claims: true, layers: 0, logits: 1).breaksItsClaim)
    #expect(!report(claims: false, layers: 3, logits: 4).breaksItsClaim)
    #expect(report(claims: false, layers: 3, logits: 4).changedShare == 0.4)
    #expect(report(claims: false, layers: 3, logits: 4).bitsPerByteEffect == 0.5)
  }

  @Test("wrong input is refused in one line")
  func wrongInput() throws {
    for (arguments, message) in [
      (["audit", tiny.folder.path("nothing")], "no such"),
      (["audit", tiny.folder.path("x"), "--windows", "0"], "--windows 0"),
    ] {
      let run = try ProgramRun("reformer-train", arguments: arguments)
      #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
      #expect(run.output.split(separator: "\n").count == 1)
    }
  }
}
