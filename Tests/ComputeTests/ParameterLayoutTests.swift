import Compute
import Testing

@Suite("Parameter layout")
struct ParameterLayoutTests {
  private let layout = ParameterLayout(groups: [
    ("embeddings", [("words", [7, 5]), ("axes", [1, 3, 2])]),
    ("layers.0", [("gain", [5]), ("weight", [40, 30]), ("bias", [40])]),
    ("empty", []),
    ("head", [("logits", [7, 10])]),
  ])

  @Test("tensors start on cache lines, in order, and do not overlap")
  func tensors() {
    #expect(layout.slots.map(\.name) == ["words", "axes", "gain", "weight", "bias", "logits"])
    #expect(layout.slots.map(\.count) == [35, 6, 5, 1200, 40, 70])
    #expect(layout.slots.allSatisfy { $0.offset % 16 == 0 && $0.range.count == $0.count })
    for (one, next) in zip(layout.slots, layout.slots.dropFirst()) {
      #expect(one.range.upperBound <= next.offset)
    }
    #expect(layout.parameterCount == 1356)
    #expect(layout["weight"].shape == [40, 30])
  }

  @Test("groups are whole segments that follow each other and hold their tensors")
  func groups() {
    #expect(layout.groups.map(\.name) == ["embeddings", "layers.0", "empty", "head"])
    // 35 -> 48 and 6 -> 16 fit one segment; 16 + 1200 + 48 take two.
    #expect(layout.groups.map(\.range) == [0..<1024, 1024..<3072, 3072..<3072, 3072..<4096])
    #expect(layout.count == 4096)
    for group in layout.groups {
      #expect(group.slots.allSatisfy { group.range.contains($0.offset) })
      #expect((group.slots.last?.range.upperBound ?? 0) <= group.range.upperBound)
    }
  }

  @Test("a name stands for one tensor")
  func names() async {
    await #expect(processExitsWith: .failure) {
      print(ParameterLayout(groups: [("a", [("w", [1])]), ("b", [("w", [2])])]).count)
    }
    await #expect(processExitsWith: .failure) {
      print(ParameterLayout(groups: [("a", [("w", [1])])])["v"].offset)
    }
  }
}
