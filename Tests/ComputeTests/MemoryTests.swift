import Compute
import Foundation
import Testing

@Suite("Buffers, views and scratch")
struct MemoryTests {
  // Small ones come from the heap, large ones from the kernel.
  @Test("buffers start as zeros on a cache line", arguments: [0, 1, 1000, 1 << 20])
  func zeros(count: Int) {
    let buffer = Buffer<Float>(count)
    #expect(buffer.count == count)
    #expect(buffer.view.array.allSatisfy { $0 == 0 })
    #expect(Int(bitPattern: buffer.view.base) % 64 == 0)
  }

  @Test("a cut of a view is the same memory")
  func cuts() {
    let buffer = Buffer<Int32>(10)
    buffer.view.copy(from: (0..<10).map(Int32.init))
    let cut = buffer.view[3..<7]
    #expect(cut.array == [3, 4, 5, 6])
    cut[0] = 30
    cut[1..<4].fill(7)
    #expect(buffer.view.array == [0, 1, 2, 30, 7, 7, 7, 7, 8, 9])
    buffer.view[0..<4].copy(from: buffer.view[6..<10])
    #expect(buffer.view.array.prefix(4) == [7, 7, 8, 9])
    #expect(buffer.view[10..<10].count == 0)
    #expect(buffer.view.bytes.count == 40)
  }

  @Test("a view stops at its end")
  func outOfRange() async {
    await #expect(processExitsWith: .failure) {
      let view = Buffer<Float>(4).view
      print(view[4])
    }
    await #expect(processExitsWith: .failure) {
      let view = Buffer<Float>(4).view
      print(view[2..<4][0..<3].count)
    }
  }

  @Test("frames give back what they lent, loans are whole cache lines and do not overlap")
  func frames() {
    let arena = ScratchArena()
    #expect(arena.highWaterBytes == 0)
    let start = arena.frame {
      let first = arena.floats(1)
      let second = arena.integers(17)
      #expect(Int(bitPattern: second.base) - Int(bitPattern: first.base) == 64)
      #expect(arena.highWaterBytes == 64 + 128)
      arena.frame {
        let matrix = arena.matrix(3, 5)
        #expect(matrix.rows == 3 && matrix.columns == 5 && matrix.dense.count == 15)
        #expect(Int(bitPattern: matrix.base) - Int(bitPattern: second.base) == 128)
      }
      #expect(arena.highWaterBytes == 64 + 128 + 64)
      return Int(bitPattern: first.base)
    }
    let again = arena.frame { Int(bitPattern: arena.floats(4).base) }
    #expect(again == start)
    #expect(arena.highWaterBytes == 256)
  }

  @Test("a frame that throws gives back too")
  func throwingFrame() {
    struct Failure: Error {}
    let arena = ScratchArena()
    #expect(throws: Failure.self) {
      try arena.frame {
        _ = arena.floats(100)
        throw Failure()
      }
    }
    arena.frame { _ = arena.floats(100) }
    #expect(arena.highWaterBytes == 448)
  }

  @Test("an arena that grew in pieces lends the same afterwards from one")
  func growth() {
    let arena = ScratchArena()
    // More than a piece holds, so that loans come from several; each keeps what was written to it.
    let sizes = [100, 3 << 20, 1 << 19, 5 << 20, 40]
    func lend() -> [View<Float>] {
      let loans = sizes.map { arena.floats($0) }
      for (index, loan) in loans.enumerated() { loan.fill(Float(index)) }
      #expect(
        loans.enumerated().allSatisfy { index, loan in
          loan[0] == Float(index) && loan[loan.count - 1] == Float(index)
        })
      return loans
    }
    arena.frame { _ = arena.frame { lend() } }
    let peak = sizes.reduce(0) { $0 + ($1 * 4 + 63) / 64 * 64 }
    #expect(arena.highWaterBytes == peak)
    arena.frame {
      let loans = lend()
      for (loan, next) in zip(loans, loans.dropFirst()) {
        let end = Int(bitPattern: loan.base) + (loan.count * 4 + 63) / 64 * 64
        #expect(end == Int(bitPattern: next.base))
      }
    }
    #expect(arena.highWaterBytes == peak)
  }

  @Test("an inner frame that needed further pieces gives them back to the outer one")
  func innerGrowth() {
    let arena = ScratchArena()
    arena.frame {
      let outer = arena.integers(1 << 18)
      outer.fill(3)
      for round in 0..<3 {
        arena.frame {
          arena.integers((1 + round) << 20).fill(5)
          arena.integers(1 << 19).fill(6)
        }
        let small = arena.frame { Int(bitPattern: arena.integers(16).base) }
        #expect(small == Int(bitPattern: outer.base) + 1 << 20)
      }
      #expect(outer.array.allSatisfy { $0 == 3 })
    }
    #expect(arena.highWaterBytes == 4 * (1 << 18 + 3 << 20 + 1 << 19))
  }

  @Test("an arena takes the address space it lends, and gives it back")
  func addressSpace() throws {
    func mapped() throws -> Int {
      let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
      return try #require(text.split(separator: " ").first.flatMap { Int($0) }) * 4096
    }
    // Other tests map memory at the same time; far less than what an arena once reserved.
    let before = try mapped()
    var arenas = (0..<4).map { _ in ScratchArena() }
    for arena in arenas { arena.frame { arena.floats(1 << 20).fill(1) } }
    #expect(try mapped() - before < 4 << 30)
    arenas = []
  }

  @Test("more than the machine has stops the program")
  func exhausted() async {
    await #expect(processExitsWith: .failure) {
      print(ScratchArena().floats(1 << 44).count)
    }
  }
}
