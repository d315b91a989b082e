// Randomness is addressed, not drawn: every number is a function of who asks for it. Recomputation
// in the backward pass, another rank count or a resumed run therefore sees the same numbers without
// saved state.
import CKernels

/// What a random number is for.
///
/// Raw values are part of the address and must never be reused.
public enum RandomPurpose: UInt64, Sendable {
  /// Initial parameters.
  case initialisation = 1
  /// Hash rotations of LSH attention.
  case hashRotation = 2
  /// Dropout on attention probabilities.
  case attentionDropout = 3
  /// Dropout on the attention output.
  case attentionOutputDropout = 4
  /// Dropout on the hidden features of the feed-forward layer.
  case hiddenDropout = 5
  /// Dropout on the feed-forward output.
  case feedForwardOutputDropout = 6
  /// Dropout on token embeddings.
  case embeddingDropout = 7
  /// Dropout on positions.
  case positionDropout = 8
  /// Dropout before the output layer.
  case headDropout = 9
  /// Choice of tokens in `generate`, and made-up numbers of the tests.
  case sampling = 10
  /// Blocks that a fixed pattern of attention draws.
  case attentionPattern = 11
  /// Directions of the random features of linear attention.
  case featureDirections = 12
}

/// The part of an address that is common to one pass over one window.
public struct RandomAddress: Sendable {
  /// Seed of the run.
  public var seed: UInt64
  /// Optimizer step, or another number that separates uses.
  public var step: UInt64
  /// Global index of the sample.
  public var sample: UInt64

  /// All parts at once.
  public init(seed: UInt64, step: UInt64, sample: UInt64) {
    self.seed = seed
    self.step = step
    self.sample = sample
  }

  /// The stream for one purpose in one place of the model.
  public func stream(
    _ purpose: RandomPurpose, layer: Int = 0, head: Int = 0
  ) -> CounterRandom {
    var key = seed
    for part in [purpose.rawValue, step, sample, UInt64(layer), UInt64(head)] {
      key = mix(key &+ 0x9E37_79B9_7F4A_7C15 &+ part &* 0xD6E8_FEB8_6659_FD93)
    }
    return CounterRandom(key: key)
  }
}

// Finaliser of splitmix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit.
private func mix(_ value: UInt64) -> UInt64 {
  var z = value
  z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
  return z ^ (z >> 31)
}

/// An endless sequence of random numbers, each of which can be had by its index: Philox 4x32-10 (Salmon and others,
/// 2011).
public struct CounterRandom: Sendable {
  let key: UInt64

  /// Fills `out` with standard normal numbers `first`, `first + 1`, ...
  public func normal(into out: View<Float>, first: Int = 0) {
    ck_normal(out.base, out.count, key, UInt64(first))
  }

  /// Number `index` of the stream, 32 uniform bits.
  public func bits(_ index: Int) -> UInt32 {
    var out: UInt32 = 0
    ck_philox(key, UInt64(index), &out, 1)
    return out
  }

  /// Drops elements of `x` with probability `rate` and scales the others by 1 / (1 - rate).
  ///
  /// Element i uses number `first + i`.
  public func dropout(_ x: View<Float>, rate: Double, first: Int) {
    ck_dropout(
      x.base, x.count, key, UInt64(first), UInt32(rate * 4_294_967_296), Float(1 / (1 - rate)))
  }

  /// The same for the runs of keys that queries see (`Kernels.runSoftmax`), by the positions of both in a
  /// sequence of `length`: element (i, j) uses number `pairNumber` of `queries[i]` and `keys[j]`.
  public func dropoutRuns(
    _ x: Matrix, first: View<Int32>, end: View<Int32>, queries: View<Int32>, keys: View<Int32>,
    length: Int, list: Int, of lists: Int, rate: Double
  ) {
    precondition(
      first.count == x.rows && end.count == x.rows && queries.count == x.rows
        && keys.count == x.columns, "shapes of dropout")
    ck_dropout_runs(
      x.dense.base, x.rows, x.columns, first.base, end.base, queries.base, keys.base,
      UInt64(length), UInt64(lists), UInt64(list), key, UInt32(rate * 4_294_967_296),
      Float(1 / (1 - rate)))
  }

  /// Number of the draw for a query and a key in a sequence of `length`, for one of several lists.
  public static func pairNumber(
    query: Int, key: Int, length: Int, list: Int, of lists: Int
  ) -> Int {
    ((query * length + key) * ((lists + 3) / 4) + list / 4) * 4 + list % 4
  }
}
