import Compute
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
    let arena = ScratchArena(capacity: 1 << 20)
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
    let arena = ScratchArena(capacity: 1 << 20)
    #expect(throws: Failure.self) {
      try arena.frame {
        _ = arena.floats(100)
        throw Failure()
      }
    }
    arena.frame { _ = arena.floats(100) }
    #expect(arena.highWaterBytes == 448)
  }

  @Test("lending more than there is stops the program")
  func exhausted() async {
    await #expect(processExitsWith: .failure) {
      let arena = ScratchArena(capacity: 1 << 20)
      print(arena.floats(1 << 18 + 1).count)
    }
  }
}
