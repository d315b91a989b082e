// Every kernel's bits: the same at every level of this machine as on every other machine, which is what
// golden.txt says. A change that means to change them writes it anew with REFORMER_WRITE_GOLDEN=1.
import CKernels
import Foundation
import KernelGolden
import TestSupport
import Testing

@Suite("Golden bits of kernels")
struct GoldenKernelTests {
  private static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("KernelGolden/golden.txt").path

  private func lines(level: Int32) -> [String] {
    final class Lines { var lines: [String] = [] }
    let result = Lines()
    atLevel(level) {
      kernel_golden(
        { name, digest, context in
          guard let name, let context else { return }
          let digits = String(digest, radix: 16)
          Unmanaged<Lines>.fromOpaque(context).takeUnretainedValue().lines.append(
            "\(String(cString: name)) \(String(repeating: "0", count: 16 - digits.count))\(digits)")
        }, Unmanaged.passUnretained(result).toOpaque())
    }
    return result.lines
  }

  @Test("digests of all kernels", arguments: kernelLevels)
  func digests(level: Int32) throws {
    let lines = lines(level: level)
    if ProcessInfo.processInfo.environment["REFORMER_WRITE_GOLDEN"] != nil {
      try (lines.joined(separator: "\n") + "\n").write(
        toFile: Self.path, atomically: true, encoding: .utf8)
    }
    let golden = try String(contentsOfFile: Self.path, encoding: .utf8).split(separator: "\n")
    #expect(golden.count > 30)
    #expect(lines == golden.map(String.init))
  }
}
