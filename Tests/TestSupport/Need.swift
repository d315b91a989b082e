// What some tests need of the machine: without it they are skipped, or fail where REQUIRE_ALL=1 says that it is all there.
import Foundation
import Testing

/// Something that is not on every machine.
public enum Need: Sendable {
  /// Open MPI's launcher.
  case mpirun
  /// Network namespaces and mpirun: what launch/two-hosts.sh makes two hosts of.
  case twoHosts
  /// Permission to mount file systems.
  case mounts
  /// Programs on PATH.
  case tools([String])

  /// Why a test that needs this cannot run here, or nil where it can.
  var refusal: String? {
    switch self {
    case .mpirun: ProgramRun.mpirun == nil ? "mpirun is not installed" : nil
    case .twoHosts: ProgramRun.refusalOfTwoHosts
    case .mounts:
      SmallDisk.isPossible ? nil : "this user may not mount a small file system"
    case .tools(let names):
      names.first { ProgramRun.tool($0) == nil }.map { "\($0) is not installed" }
    }
  }

  /// Continuous integration sets this, so that no test is lost unnoticed.
  static let allAreRequired = ProcessInfo.processInfo.environment["REQUIRE_ALL"] == "1"
}

struct Missing: Error, CustomStringConvertible {
  let description: String
}

extension Trait where Self == ConditionTrait {
  /// Skips the test where the machine lacks something; with REQUIRE_ALL=1 it fails instead.
  public static func needs(_ need: Need) -> Self {
    .enabled(need.refusal.map { "\($0)" } ?? "the machine has it") {
      guard let refusal = need.refusal else { return true }
      if Need.allAreRequired { throw Missing(description: "REQUIRE_ALL=1, but \(refusal)") }
      return false
    }
  }
}
