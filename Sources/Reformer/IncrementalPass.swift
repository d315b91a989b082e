// Sequences that go on by a token at a time, side by side. All parts of the model are those of a pass over whole windows,
// over one row of each sequence; only attention has something to remember.
import Attention
import Compute

/// The logits of the next tokens of several sequences, from what earlier tokens left.
///
/// S sequences, V vocabulary. Bits are those of a pass over the whole window where every layer is strictly causal; other
/// models cannot go on by a token, but read the start of a sequence again.
public final class IncrementalPass {
  /// Sizes.
  public let config: ReformerConfig
  /// Whether `step` is possible.
  public let isStrict: Bool
  /// Tokens of each sequence that have been read.
  public private(set) var position = 0
  private let parameters: View<Float>
  private let engine: Engine
  private let parts: ReformerParts
  private let rotary: RotaryPositions?
  private let infused: InfusedPositions?
  private let prepared = PreparedParameters()
  private let encoded: EncodedSource?
  private var sequences: [SequencePast] = []
  private let most: Int
  private let streams: [Buffer<Int32>]
  private let logits: Buffer<Float>

  /// Up to `sequences` sequences of a model with these `parameters`, which must stay as they are.
  ///
  /// Throws where sizes do not fit each other.
  public init(
    config: ReformerConfig, parameters: View<Float>, sequences: Int, engine: Engine
  ) throws(ReformerError) {
    try config.check()
    precondition(sequences > 0, "\(sequences) sequences")
    self.config = config
    self.parameters = parameters
    self.engine = engine
    isStrict = config.layers.allSatisfy(\.isStrictlyCausal)
    parts = ReformerParts(config)
    rotary = config.rotaryPositions
    infused = config.infusedPositions
    precondition(
      parameters.count == parts.layout.parameterBufferCount, "parameters of another layout")
    encoded = config.encoder.isEmpty ? nil : EncodedSource(config)
    most = sequences
    streams = (0..<2).map { _ in Buffer(sequences * config.width) }
    logits = Buffer(sequences * config.vocabulary)
  }

  /// Begins as many sequences as there are addresses, of their hash rotations; those before are forgotten.
  public func begin(_ addresses: [RandomAddress]) {
    precondition((1...most).contains(addresses.count), "\(addresses.count) sequences")
    sequences = addresses.map { SequencePast(address: $0, length: config.length) }
    position = 0
  }

  /// Reads the first tokens of the only sequence in one pass, and returns the logits `[V]` of the next one, lent until
  /// the next call.
  ///
  /// Throws when the model cannot read them, and when a stream leaves its range.
  public func read(_ tokens: [Int32]) throws(ReformerError) -> View<Float> {
    precondition(position == 0 && sequences.count == 1, "a start in the middle")
    let logits = logits.view[0..<config.vocabulary]
    try start(sequences[0], tokens, into: logits)
    position = tokens.count
    return logits
  }

  /// Reads the source of each sequence, and the token that their targets begin with; returns the logits `[sequences, V]` of
  /// the next ones, lent until the next call.
  ///
  /// Throws when the model cannot read them, and when a stream leaves its range.
  public func read(sources: [[Int32]], begin token: Int32) throws(ReformerError) -> Matrix {
    precondition(
      isStrict && position == 0 && sequences.count == sources.count, "\(sources.count) sources")
    let result = Matrix(
      logits.view[0..<sources.count * config.vocabulary], rows: sources.count,
      columns: config.vocabulary)
    for (index, source) in sources.enumerated() {
      sequences[index].source = source
      try start(sequences[index], [token], into: result.row(index))
    }
    position = 1
    return result
  }

  /// Goes on with the sequences at `places`, in this order; one that is there more than once is read again for each place
  /// but the first.
  ///
  /// Throws as `read` does.
  public func keep(_ places: [Int]) throws(ReformerError) {
    precondition((1...most).contains(places.count), "\(places.count) sequences")
    let before = sequences
    var taken: Set<Int> = []
    sequences = []
    for place in places {
      let isNew = taken.insert(place).inserted
      sequences.append(isNew ? before[place] : try twin(of: before[place]))
    }
  }

  /// A sequence of the same tokens.
  private func twin(of sequence: SequencePast) throws(ReformerError) -> SequencePast {
    let twin = SequencePast(address: sequence.address, length: config.length)
    twin.source = sequence.source
    try engine.scratch.frame { () throws(ReformerError) in
      try start(
        twin, sequence.window.inputs[0..<position].array,
        into: engine.scratch.floats(config.vocabulary))
    }
    return twin
  }

  /// The first tokens of a sequence in one pass, and the logits `[V]` of the next one.
  private func start(
    _ sequence: SequencePast, _ tokens: [Int32], into logits: View<Float>
  ) throws(ReformerError) {
    let start = Window(
      source: sequence.source, inputs: tokens, targets: [Int32](repeating: -1, count: tokens.count))
    try start.check(config)
    let count = tokens.count
    sequence.window.inputs[0..<count].copy(from: tokens)
    var pass = pass(0..<count, sequence.address, isStrict ? .start(sequence) : nil)
    pass.source = encoded?.part(of: start)
    let last = count - 1..<count
    try engine.scratch.frame { () throws(ReformerError) in
      let size = (start.sourceLength + count) * config.width
      let all = try parts.begin(
        (0..<2).map { _ in stream(engine.scratch.integers(size)) }, start, pass: pass,
        observer: Unobserved())
      try parts.stack.forward(all, pass: pass, observer: Unobserved())
      parts.head.learn(0..<count - 1, streams: all, sequence: sequence, known: count, pass: pass)
      parts.head.next(
        streams: all.map { stream($0.values(last)) }, sequences: [sequence], position: count - 1,
        into: Matrix(logits, rows: 1, columns: config.vocabulary),
        pass: self.pass(0..<1, sequence.address, .step([sequence], position: count - 1)))
    }
  }

  /// Reads one more token of each of the first sequences, and returns the logits `[tokens, V]` of the next ones, lent
  /// until the next call; the other sequences are over.
  ///
  /// Throws when a stream leaves its range.
  public func step(_ tokens: [Int32]) throws(ReformerError) -> Matrix {
    precondition(isStrict, "a step of a model that is not strictly causal")
    precondition(
      position < config.length && (1...sequences.count).contains(tokens.count)
        && tokens.allSatisfy { (0..<Int32(config.vocabulary)).contains($0) },
      "\(tokens.count) tokens at \(position)")
    let (count, width) = (tokens.count, config.width)
    let own = Array(sequences[0..<count])
    let step = Continuation.step(own, position: position)
    let all = streams.map { stream($0.view[0..<count * width]) }
    for (row, token) in tokens.enumerated() {
      own[row].window.inputs[position] = token
      parts.head.ngrams?.tables.fetch(own[row].window.inputs, position, in: parameters)
      try parts.embedding.forward(
        tokens: own[row].window.inputs,
        streams: all.map { stream($0.values(row..<row + 1), first: position) },
        pass: pass(position..<position + 1, own[row].address, step))
    }
    let pass = pass(0..<count, own[0].address, step)
    try parts.stack.forward(all, pass: pass, observer: Unobserved())
    let result = Matrix(
      logits.view[0..<count * config.vocabulary], rows: count, columns: config.vocabulary)
    parts.head.next(
      streams: all, sequences: own, position: position, into: result, pass: pass)
    position += 1
    return result
  }

  private func stream(_ values: View<Int32>, first: Int = 0) -> ResidualStream {
    ResidualStream(
      values: values, first: first, width: config.width,
      fractionBits: config.residualFractionBits)
  }

  private func pass(
    _ rows: Range<Int>, _ address: RandomAddress, _ continuation: Continuation?
  ) -> Pass {
    Pass(
      parameters: parameters, length: rows.upperBound, rows: rows, address: address,
      isTraining: false, givenRotations: [:], rotary: rotary, infused: infused, engine: engine,
      kept: nil, prepared: prepared, continuation: continuation)
  }
}

extension LossHead {
  /// The logits of the token after `position` into `logits` `[S, V]`, from a row of both streams for each sequence.
  fileprivate func next(
    streams: [ResidualStream], sequences: [SequencePast], position: Int, into logits: Matrix,
    pass: Pass
  ) {
    let weights = pass.pack(Matrix(pass.parameters, weight), transposed: true)
    pass.eachTile { rows, scratch in
      logits.rows(rows).copy(
        from: self.logits(rows, streams, weights: weights, pass: pass, scratch: scratch).logits)
    }
    guard let ngrams else { return }
    let shares = shares(ngrams, pass: pass)
    pass.engine.pool.run(sequences.count) { row, scratch in
      let counts = counts(
        ngrams, shares, of: sequences[row], upTo: position, pass: pass)
      counts.next(position, logits: logits.row(row), ngrams, scratch: scratch)
      scratch.lap(.loss)
    }
  }

  /// Learns from `rows`, the first ones of a sequence of which `known` tokens are known.
  fileprivate func learn(
    _ rows: Range<Int>, streams: [ResidualStream], sequence: SequencePast, known: Int, pass: Pass
  ) {
    guard let ngrams, !rows.isEmpty else { return }
    let counts = counts(
      ngrams, shares(ngrams, pass: pass), of: sequence, upTo: rows.upperBound - 1, pass: pass)
    mix(rows, streams: streams, ngrams, counts.common, known: known, pass: pass)
  }

  /// What all sequences share, made by the first pass that needs it; not for tasks, which run side by side.
  private func shares(_ ngrams: NGramMixture, pass: Pass) -> NGramMixture.Shares {
    guard let shares = pass.prepared?.shares(ngrams, pass.parameters) else {
      preconditionFailure("a sequence without prepared parameters")
    }
    return shares
  }

  private func counts(
    _ ngrams: NGramMixture, _ shares: NGramMixture.Shares, of sequence: SequencePast,
    upTo position: Int, pass: Pass
  ) -> CountsPast {
    sequence.counts(upTo: position) { arena in
      CountsPast(
        ngrams.common(sequence.window, pass.parameters, shares: shares, from: arena), ngrams,
        from: arena)
    }
  }
}
