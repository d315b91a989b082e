// Kinds of sparse patterns: which keys a query sees follows from its position, its head and what was drawn, from what its
// head has chosen (`blocks`), or from how far it has learnt to see (`span`). A kind gives its lists (`SightList`), over which
// `PatternAttention` goes.
import Compute

/// What a pass over a pattern leaves for its gradient.
public struct PatternSaved: Sendable {
  let rows: [SoftmaxRows]
  /// Of each head, what chooses its pattern.
  let choices: [View<Int32>]
}

/// A kind of attention whose queries see what a pattern says.
protocol PatternLayer: AttentionLayer where Saved == PatternSaved {
  /// Numbers that choose the pattern of a head, which may be another than that of other heads.
  func choiceCount(length: Int) -> Int
  /// Most different patterns of `heads` heads.
  func patterns(heads: Int) -> Int
  /// Whether a list is of the kind's `mixtures`, one for each position.
  func mixes(list: Int) -> Bool
  /// Rows that a choice says are carried over, before the window's keys.
  func carried(_ choice: View<Int32>) -> Int
  /// Writes the choice of a head, whose model-wide index is `head`.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass)
  /// Positions over which the sight of a head fades out; 0: it ends at once, here and below.
  var ramp: Int { get }
  /// Distance up to which head `head` sees keys in full, where its sight fades out: a whole number or not, and learnt.
  func span(head: Int, pass: AttentionPass) -> Double
  /// Adds to the gradients of the kind's own parameters, from the derivative of the loss by the span of each head of a
  /// group.
  func learn(spans: [Double], ownGradients: OwnParameters, pass: AttentionPass)

  /// Sizes of the lists, and of those by key where these are others.
  func sizes(length: Int) -> [SightList.Size]
  /// The lists of a head, in the order in which softmaxes are merged; no query sees a key twice.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList]
  /// The same with every key once at most in each list.
  func listsByKey(
    _ lists: [SightList], _ choice: View<Int32>, length: Int, from arena: ScratchArena
  ) -> [SightList]
}

extension PatternLayer {
  func choiceCount(length: Int) -> Int { 0 }
  func patterns(heads: Int) -> Int { 1 }
  func mixes(list: Int) -> Bool { false }
  func carried(_ choice: View<Int32>) -> Int { 0 }
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {}
  var ramp: Int { 0 }
  func span(head: Int, pass: AttentionPass) -> Double { 0 }
  func learn(spans: [Double], ownGradients: OwnParameters, pass: AttentionPass) {}
  func listsByKey(
    _ lists: [SightList], _ choice: View<Int32>, length: Int, from arena: ScratchArena
  ) -> [SightList] { lists }

  /// Hugging Face's Reformer has no such layers.
  public var isInHuggingFace: Bool { false }
  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// A position sees earlier ones in an order that nothing later enters.
  public var isStrictlyCausal: Bool { true }

  /// Maximum and sum of each row, and what chooses each head's pattern.
  public func savedFloats(length: Int, heads: Int) -> Int {
    softmaxFloats(length: length, heads: heads) + heads * choiceCount(length: length)
  }

  /// Lends them.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> PatternSaved {
    PatternSaved(
      rows: softmaxRows(length: length, heads: heads, from: arena),
      choices: (0..<heads).map { _ in arena.integers(choiceCount(length: length)) })
  }

  /// Of each row sum of output times gradient, the lists, and where sight fades out; a thread has a tile of scores and what
  /// meets in it.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let lists = sizes(length: length).reduce(0) { $0 + $1.integers }
    return AttentionScratch(
      shared: heads * (length + edgeFloats(length: length)) + patterns(heads: heads) * lists,
      perThread: PatternAttention.perThread(
        queries: length, keys: carriedRows + length, headWidth: headWidth))
  }

  /// Attention of each query to the runs that it sees.
  public func forward(_ group: HeadGroup, saved: PatternSaved, pass: AttentionPass) {
    pass.turn(group)
    for (index, choice) in saved.choices.enumerated() {
      choose(choice, length: group.length, head: pass.firstHead + index, pass: pass)
    }
    pass.engine.scratch.frame {
      PatternAttention(pattern(saved, length: group.length, pass.engine.scratch)).forward(
        heads(group, saved, pass).map { [$0] }, pass: pass)
    }
  }

  /// Gradients of the projections.
  public func backward(
    _ group: HeadGroup, saved: PatternSaved, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let length = group.length
    pass.engine.scratch.frame {
      let lists = pattern(saved, length: length, pass.engine.scratch)
      let byKey = each(saved) { head in
        listsByKey(lists[head], saved.choices[head], length: length, from: pass.engine.scratch)
      }
      let heads = heads(group, saved, pass)
      var own = HeadGradient.all(
        group, heads, outputGradient: outputGradient, gradients: gradients, pass.engine)
      if ramp > 0 {
        for head in own.indices {
          let spans = pass.engine.scratch.floats(lists[head][0].queryTileCount)
          spans.fill(0)
          own[head].spans = spans
        }
      }
      PatternAttention(lists).backward(
        heads.map { [$0] }, own.map { [$0] }, byKey: byKey, pass: pass)
      learn(
        spans: own.compactMap { $0.spans?.array.reduce(0) { $0 + Double($1) } },
        ownGradients: ownGradients, pass: pass)
    }
    pass.turnBack(gradients)
  }

  /// The heads of `group`, with the edges of their sight.
  private func heads(
    _ group: HeadGroup, _ saved: PatternSaved, _ pass: AttentionPass
  ) -> [AttentionHead] {
    var heads = AttentionHead.all(group, saved.rows, pass)
    for index in heads.indices {
      heads[index].edge = edge(
        head: pass.firstHead + index, pass: pass, from: pass.engine.scratch)
    }
    return heads
  }

  /// Where the sight of a head fades out, if it does; lent by `arena`.
  func edge(head: Int, pass: AttentionPass, from arena: ScratchArena) -> SoftEdge? {
    guard ramp > 0 else { return nil }
    return SoftEdge(span: span(head: head, pass: pass), ramp: ramp, from: arena)
  }

  /// Floats of an edge and of what its gradient is summed from.
  private func edgeFloats(length: Int) -> Int {
    ramp > 0 ? SoftEdge.floats(ramp: ramp) + length / SightList.queryTile + 1 : 0
  }

  private func pattern(_ saved: PatternSaved, length: Int, _ arena: ScratchArena) -> [[SightList]] {
    each(saved) { lists(saved.choices[$0], length: length, from: arena) }
  }

  /// What `make` makes of each head, once for those of one choice.
  private func each(_ saved: PatternSaved, _ make: (Int) -> [SightList]) -> [[SightList]] {
    let choices = saved.choices.map(\.array)
    var made: [[SightList]] = []
    for (head, choice) in choices.enumerated() {
      let twin = choices[..<head].firstIndex(of: choice)
      made.append(twin.map { made[$0] } ?? make(head))
    }
    return made
  }

  /// The keys of every list's runs; draws go by the positions of both.
  public func sight(length: Int, head: Int, saved: PatternSaved) -> Sight {
    let (arena, choice) = (ScratchArena(), saved.choices[head])
    let carried = carried(choice)
    var keys = [[Sight.Key]](repeating: [], count: length)
    for (number, list) in lists(choice, length: length, from: arena).enumerated() {
      for (place, query) in list.queries.array.map(Int.init).enumerated() {
        for key in list.keys[Int(list.first[place])..<Int(list.end[place])].array {
          let draw = CounterRandom.pairNumber(
            query: query, key: Int(key), length: carried + length, list: 0, of: 1)
          keys[query].append(
            Sight.Key(
              position: Int(key) - carried, draw: draw, isLastResort: false,
              mixture: mixes(list: number) ? Int(key) : nil))
        }
      }
    }
    return Sight(keys: keys)
  }
}
