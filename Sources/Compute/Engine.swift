// What a layer needs to run besides its parameters: threads and memory for the length of a step.

/// The machinery of one rank, handed to every layer.
public final class Engine: Sendable {
  /// Threads.
  public let pool: WorkerPool
  /// Scratch of the thread that orchestrates; sized by the sequence, lent for a layer at a time.
  public let scratch: ScratchArena

  /// An engine with `threads` threads; `processes` like this one share the cores that it may use.
  public init(threads: Int, processes: Int = 1) {
    OpenBLAS.prepareThread()
    pool = WorkerPool(threadCount: threads, processes: processes)
    scratch = ScratchArena()
  }

  /// Most bytes of scratch ever in use, all arenas together.
  public var scratchHighWaterBytes: Int {
    scratch.highWaterBytes + pool.scratchHighWaterBytes
  }
}

extension Engine {
  /// Weights `[outputs, inputs]` as the right side of dx = dy W, or transposed as that of y = x W^T, in memory lent
  /// by `arena`, or by the engine until the enclosing frame ends; all threads pack.
  public func pack<Element: ProductElement>(
    _ weights: Matrix, transposed: Bool, as: Element.Type = Float.self,
    from arena: ScratchArena? = nil
  ) -> Packed<Element> {
    let arena = arena ?? scratch
    let packed =
      transposed
      ? arena.strips(Element.count(weights.columns), weights.rows, of: Element.self)
      : arena.strips(Element.count(weights.rows), weights.columns, of: Element.self)
    let panels = Tiling.ranges(weights.rows, by: 128)
    pool.run(panels.count) { index, scratch in
      let panel = panels[index]
      if transposed {
        packed.columns(panel).copy(transposing: weights.rows(panel))
      } else {
        let own = panel.lowerBound / Element.numbers..<Element.count(panel.upperBound)
        packed.rows(own).copy(from: weights.rows(panel))
      }
      scratch.lap(.layout)
    }
    return packed
  }
}
