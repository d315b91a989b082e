// What commands print with --json, and the schemas of it: `reformer-train help schema NAME`, kept in docs/schemas/.
import Foundation
import Training

/// What a command prints as one JSON object; its type is the only declaration of its schema.
protocol JSONOutput: Codable, SendableMetatype {
  /// The command, and after a hyphen the option that makes it print this.
  static var schemaName: String { get }
}

extension AuditReport: JSONOutput { static let schemaName = "audit" }
extension BenchmarkReport: JSONOutput { static let schemaName = "benchmark" }
extension ReductionReport: JSONOutput { static let schemaName = "benchmark-reduction" }
extension CompareReport: JSONOutput { static let schemaName = "compare" }
extension ConformanceReport: JSONOutput { static let schemaName = "conformance" }
extension TrainingConformanceReport: JSONOutput {
  static let schemaName = "conformance-training"
}
extension DoctorReport: JSONOutput { static let schemaName = "doctor" }
extension EvaluationReport: JSONOutput { static let schemaName = "evaluate" }
extension InspectCommand.Report: JSONOutput { static let schemaName = "inspect" }
extension InspectCommand.Verification: JSONOutput { static let schemaName = "inspect-verify" }
extension PlanCommand.Report: JSONOutput { static let schemaName = "plan" }

/// All of them.
enum OutputSchemas {
  static let all: [any JSONOutput.Type] = [
    AuditReport.self, BenchmarkReport.self, ReductionReport.self, CompareReport.self,
    ConformanceReport.self, TrainingConformanceReport.self, DoctorReport.self,
    EvaluationReport.self,
    InspectCommand.Report.self, InspectCommand.Verification.self, PlanCommand.Report.self,
  ]

  /// The schema called `name`, as it stands in docs/schemas/NAME.json.
  ///
  /// Throws `UserError` where there is none.
  static func text(_ name: String) throws -> String {
    guard let type = all.first(where: { $0.schemaName == name }) else {
      let names = all.map { $0.schemaName }.joined(separator: ", ")
      throw UserError("no schema \(name); there are \(names)")
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let schema = try JSONSchema(of: type, title: "reformer-train \(name)")
    return String(decoding: try encoder.encode(schema), as: UTF8.self)
  }
}
