// Where a checkpoint comes from: the program and the machine that wrote it, and the checkpoint that they went on
// from. Part of state.json, for the record, and compared on resume as far as the bits depend on it.
import Compute
import Foundation

/// What wrote a checkpoint.
package struct Origin: Codable, Equatable, Sendable, CustomStringConvertible {
  /// The program.
  package let program: Program
  /// What else the bits depend on, besides config and corpus.
  package let bitsDependOn: Dependence
  /// What they do not depend on.
  package let bitsDoNotDependOn: Machine
  /// What the run went on from; nil for one that began at step 1.
  package var resumedFrom: Parent?
  /// What the run had its first parameters from; nil where they were random.
  package var startedFrom: Parent?

  private enum CodingKeys: String, CodingKey {
    case program
    case bitsDependOn = "bits_depend_on"
    case bitsDoNotDependOn = "bits_do_not_depend_on"
    case resumedFrom = "resumed_from"
    case startedFrom = "started_from"
  }

  /// What matrix products depend on.
  package struct Dependence: Codable, Equatable, Sendable {
    /// How they are made: by tiles of our own, or by which version and kernels of OpenBLAS.
    package let matrixProducts: String

    private enum CodingKeys: String, CodingKey { case matrixProducts = "matrix_products" }
  }

  /// A machine, rank 0's.
  package struct Machine: Codable, Equatable, Sendable {
    /// Kernels in use.
    package let instructionSet: String
    /// As the system calls it.
    package let processor: String
    /// Kernel and version.
    package let system: String
    /// The C library's version.
    package let cLibrary: String

    private enum CodingKeys: String, CodingKey {
      case instructionSet = "instruction_set"
      case processor, system
      case cLibrary = "c_library"
    }
  }

  /// A checkpoint that a run went on or started from.
  package struct Parent: Codable, Equatable, Sendable {
    /// Its folder then.
    package let checkpoint: String
    /// Its step.
    package let step: Int
    /// SHA-256 of its manifest, and so of all its files.
    package let manifestSHA256: String

    private enum CodingKeys: String, CodingKey {
      case checkpoint
      // Not "step", which readers of `inspect --json` by line look for.
      case step = "at_step"
      case manifestSHA256 = "manifest_sha256"
    }
  }

  /// This program, built from `commit`, on this machine, with the matrix products that the config has chosen.
  package static func current(commit: String?) -> Origin {
    var program = Program.current
    program.commit = commit
    return Origin(
      program: program, bitsDependOn: Dependence(matrixProducts: MatrixProducts.description),
      bitsDoNotDependOn: Machine(
        instructionSet: Kernels.instructionSet, processor: processorName(), system: systemName(),
        cLibrary: cLibraryName()), resumedFrom: nil)
  }

  /// In what this differs from the origin of a checkpoint, as far as the bits depend on it; nil where it does not,
  /// or the checkpoint does not say.
  func difference(from saved: Origin?) -> String? {
    guard let saved, saved.bitsDependOn != bitsDependOn else { return nil }
    return
      "it was trained with matrix products of \(saved.bitsDependOn.matrixProducts), here they are of "
      + bitsDependOn.matrixProducts
  }

  /// What a resume should know about the program of a checkpoint; nil where it is this one.
  func note(on saved: Origin?) -> String? {
    let advice = "the bits are those of one program if no arithmetic has changed in between"
    guard let saved else { return "does not say which program wrote it; \(advice)" }
    guard saved.program.executableSHA256 != program.executableSHA256 else { return nil }
    return "was written by program \(saved.program), this is \(program); \(advice)"
  }

  /// A line or two for people.
  package var description: String {
    "written by program \(program), \(bitsDependOn.matrixProducts), on "
      + "\(bitsDoNotDependOn.processor) (\(bitsDoNotDependOn.instructionSet))"
      + (resumedFrom.map { "\nwent on from step \($0.step), \($0.checkpoint)" } ?? "")
      + (startedFrom.map { "\nstarted from step \($0.step), \($0.checkpoint)" } ?? "")
  }

  private static func processorName() -> String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":", maxSplits: 1).last.map {
      $0.trimmingCharacters(in: .whitespaces)
    } ?? "unknown"
  }

  private static func cLibraryName() -> String {
    var name = [CChar](repeating: 0, count: 64)
    let count = confstr(Int32(_CS_GNU_LIBC_VERSION), &name, name.count - 1)
    return count > 0
      ? String(decoding: name.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self) : "unknown"
  }

  private static func systemName() -> String {
    let words = ["ostype", "osrelease", "arch"].map {
      (try? String(contentsOfFile: "/proc/sys/kernel/\($0)", encoding: .utf8)) ?? ""
    }
    return words.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }.filter { !$0.isEmpty }
      .joined(separator: " ")
  }
}
