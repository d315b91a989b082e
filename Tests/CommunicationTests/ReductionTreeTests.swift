import Communication
import Testing

@Suite("Reduction tree")
struct ReductionTreeTests {
  @Test("items are merged in aligned power-of-two blocks, the remainder left to right")
  func order() {
    let expected = [
      1: "0", 2: "(0+1)", 3: "((0+1)+2)", 4: "((0+1)+(2+3))", 5: "(((0+1)+(2+3))+4)",
      6: "(((0+1)+(2+3))+(4+5))", 7: "((((0+1)+(2+3))+(4+5))+6)",
      8: "(((0+1)+(2+3))+((4+5)+(6+7)))",
    ]
    for (count, order) in expected { #expect(mergeOrder(0..<count) == order) }
  }

  @Test("any count gives the order of the recursive definition", arguments: 1...40)
  func recursive(count: Int) {
    #expect(mergeOrder(0..<count) == recursiveOrder(count))
  }

  @Test(
    "merging ranks gives the order of one rank exactly where sameBits says so",
    arguments: 1...16, 1...16)
  func sameBits(batch: Int, ranks: Int) {
    let same = GradientReduction.sameBits(globalBatch: batch, ranks: ranks)
    guard batch % ranks == 0 || ranks % batch == 0 else {
      #expect(!same)
      return
    }
    // A rank without a sample has zero, which leaves what it is added to.
    func mergedRanks(_ earlier: String, _ later: String) -> String {
      earlier.isEmpty || later.isEmpty ? earlier + later : merged(earlier, later)
    }
    var overRanks = ReductionTree<String>()
    for rank in 0..<ranks {
      let order = mergeOrder((rank * batch / ranks)..<((rank + 1) * batch / ranks)) ?? ""
      overRanks.push(order, merge: mergedRanks)
    }
    let isEqual = overRanks.fold(merge: mergedRanks) == mergeOrder(0..<batch)
    // Below one sample per rank other numbers may happen to agree; what is said must hold.
    #expect(batch >= ranks ? isEqual == same : isEqual || !same)
  }

  @Test("a tree is empty again after its fold")
  func reuse() {
    var tree = ReductionTree<String>()
    #expect(tree.fold(merge: merged) == nil)
    for _ in 0..<2 {
      for item in 0..<3 { tree.push("\(item)", merge: merged) }
      #expect(tree.fold(merge: merged) == "((0+1)+2)")
    }
  }

  private func merged(_ earlier: String, _ later: String) -> String { "(\(earlier)+\(later))" }

  private func mergeOrder(_ items: Range<Int>) -> String? {
    var tree = ReductionTree<String>()
    for item in items { tree.push("\(item)", merge: merged) }
    return tree.fold(merge: merged)
  }

  private func recursiveOrder(_ count: Int) -> String {
    func block(_ start: Int, _ size: Int) -> String {
      size == 1 ? "\(start)" : merged(block(start, size / 2), block(start + size / 2, size / 2))
    }
    var order: String?
    var start = 0
    for bit in (0..<Int.bitWidth).reversed() where count & (1 << bit) != 0 {
      let next = block(start, 1 << bit)
      order = if let earlier = order { merged(earlier, next) } else { next }
      start += 1 << bit
    }
    return order ?? ""
  }
}
