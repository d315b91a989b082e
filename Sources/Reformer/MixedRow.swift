// One position after the other: what counts say is weighed, mixed with what the network says, and scored; shares and weights
// learn from it.
import Compute

/// Where what training learns is added up.
struct MixtureGradient {
  /// Laid out like the parameters.
  let escapes, weights: View<Float>
  /// Of the loss of one position in the loss that is trained on.
  let scale: Float
}

extension NGramMixture {
  /// The network's `logits` `[rows, V]` of `rows`, which follow those before, become those of the mixture; the window
  /// learns from the tokens that are known to follow.
  ///
  /// - `evidence`: what counts say of these rows, from its row `first` on. `known`: tokens of the window that are known.
  /// - `losses` `[rows]`: set to the loss in nats, 0 where nothing is scored. `gradient` is added to.
  func mix(
    _ logits: Matrix, rows: Range<Int>, evidence: NGramEvidence, first: Int, common: Common,
    known: Int, scratch: ScratchArena, losses: View<Float>? = nil, gradient: MixtureGradient? = nil
  ) {
    let window = common.window
    scratch.frame {
      let row = MixedRow(evidence, common.learning, claims: claims, from: scratch)
      for (index, position) in rows.enumerated() {
        row.weigh(first + index, logits: logits.row(index))
        let (outcome, target) = (
          position + 1 < known ? window.inputs[position + 1] : -1, window.targets[position]
        )
        if let losses {
          losses[index] =
            target < 0
            ? 0
            : row.answer(
              target, first + index, learns: target == outcome, gradient: gradient)
        }
        if outcome >= 0, losses == nil || target != outcome {
          _ = row.answer(outcome, first + index, learns: true, gradient: nil)
        }
        logits.row(index).copy(from: row.mixed)
      }
    }
  }
}

/// The prediction of one position.
///
/// V vocabulary.
private struct MixedRow {
  /// `[V]`: logits of the mixture.
  let mixed: View<Float>
  private let evidence: NGramEvidence
  private let learning: WindowLearning
  /// `[V]` each: probabilities by counts, the network's logits, and the gradient of `mixed`.
  private let counted: View<Float>
  private let network, slopes: Matrix
  /// `[V]`: of `counted`.
  private let logarithms: Matrix
  /// `[claims]` each: the share a claim leaves to those before it, its own, and its own of the whole.
  private let left, own, whole: View<Float>
  private let token: View<Int32>
  private let loss, dot: View<Float>

  init(
    _ evidence: NGramEvidence, _ learning: WindowLearning, claims: Int, from arena: ScratchArena
  ) {
    self.evidence = evidence
    self.learning = learning
    let vocabulary = evidence.shortest.columns
    (mixed, counted) = (arena.floats(vocabulary), arena.floats(vocabulary))
    (network, slopes) = (arena.matrix(1, vocabulary), arena.matrix(1, vocabulary))
    logarithms = arena.matrix(1, vocabulary)
    (left, own, whole) = (arena.floats(claims), arena.floats(claims), arena.floats(claims))
    (token, loss, dot) = (arena.integers(1), arena.floats(1), arena.floats(1))
  }

  /// Mixes what counts say in `row` with the network's logits.
  func weigh(_ row: Int, logits: View<Float>) {
    evidence.each(row) { index, claim in
      let rest = (1.001 - claim.base) * learning.lowered[claim.cell]
      left[index] = claim.base / (claim.base + rest)
      own[index] = rest / (claim.base + rest)
    }
    // From the last claim back: what it leaves of the whole.
    var rest: Float = 1
    for index in (0..<evidence.count(row)).reversed() {
      whole[index] = own[index] * rest
      rest *= left[index]
    }
    counted.copy(from: evidence.shortest.row(row))
    Kernels.scale(counted, by: rest)
    evidence.each(row) { index, claim in
      for place in claim.tokens {
        let (token, part) = evidence.token(place)
        counted[token] += whole[index] * part
      }
    }
    network.dense.copy(from: logits)
    logarithms.dense.copy(from: counted)
    let place = Int(evidence.places[row])
    Kernels.mix(
      probabilities: logarithms.dense, by: learning.weights[place], logits: logits,
      by: learning.weights[place + 1], into: mixed)
  }

  /// The loss in nats where `answer` follows; the window learns from it, and training, where wanted.
  func answer(
    _ answer: Int32, _ row: Int, learns: Bool, gradient: MixtureGradient?
  ) -> Float {
    slopes.dense.copy(from: mixed)
    token[0] = answer
    Kernels.crossEntropy(slopes, targets: token, gradientScale: 1, into: loss)
    for (part, features) in [logarithms, network].enumerated() {
      let place = Int(evidence.places[row]) + part
      Kernels.rowDots(slopes, features, into: dot)
      if learns { learning.moveWeight(place, by: dot[0]) }
      if let gradient {
        gradient.weights[place] += gradient.scale * NGramMixture.parameterPace * dot[0]
      }
    }
    // Of the likelihood of the answer by counts alone: what is said of it before a claim, and by the claim.
    let scale = 1 / max(counted[Int(answer)], NGramMixture.leastProbability)
    var before = evidence.shortest.row(row)[Int(answer)]
    evidence.each(row) { index, claim in
      var part: Float = 0
      for place in claim.tokens where evidence.token(place).token == Int(answer) {
        part = evidence.token(place).part
      }
      let slope = scale * (part - before) * left[index] * whole[index]
      before = left[index] * before + own[index] * part
      if learns { learning.moveEscape(claim.cell, by: slope) }
      if let gradient {
        gradient.escapes[claim.cell] += gradient.scale * NGramMixture.parameterPace * slope
      }
    }
    return loss[0]
  }
}
