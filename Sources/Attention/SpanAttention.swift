// Attention whose heads learn how far to look (Sukhbaatar et al. 2019, "Adaptive attention span in transformers"): each has a
// span, up to which it sees in full; a ramp, over which its sight fades out, lets the span have a gradient.
import Compute

/// Causal attention to the last positions, as many as each head has learnt to look at.
///
/// A key d positions before its query is weighed by min(max((ramp + span - d) / ramp, 0), 1) inside the softmax; keys that
/// would weigh nothing are not visited. The span of a head is a parameter between 0 and 1 (`ParameterKind.share`), 0 at
/// first as in the paper, times `maximum`. What is lost by a wide sight is `penalty` times the mean of the heads' spans,
/// which enters gradients and no loss that is reported.
public struct SpanAttention: PatternLayer, Equatable {
  /// Largest span, in positions.
  public var maximum: Int
  /// Positions over which sight fades out.
  public var ramp: Int
  /// Nats per byte that a layer's loss grows by with each position of its heads' mean span.
  public var penalty: Double

  /// A layer with these sizes; ramp and penalty are the paper's.
  public init(maximum: Int = 1024, ramp: Int = 32, penalty: Double = 2e-6) {
    self.maximum = maximum
    self.ramp = ramp
    self.penalty = penalty
  }

  /// `span`.
  public static let name = "span"
  /// Spans within a tile and beyond a part of a softmax, with short ramps and long ones.
  public static let examples = [
    SpanAttention(maximum: 30, ramp: 9, penalty: 0),
    SpanAttention(maximum: 90, ramp: 3, penalty: 0),
    SpanAttention(maximum: 1500, ramp: 40, penalty: 0),
  ]

  /// At least a position each.
  public var problem: String? {
    (1...1 << 27).contains(maximum) && (1...1 << 16).contains(ramp) && 0...1 ~= penalty
      ? nil
      : "maximum \(maximum), ramp \(ramp), penalty \(penalty); legal: 1 or more, 1 to \(1 << 16), 0 to 1"
  }

  /// Each head's share of the largest span.
  public func parameters(heads: Int, headWidth: Int) -> [ParameterSpecification] {
    [ParameterSpecification("span", [heads], .share, .constant(0))]
  }

  /// Of the keys that each query sees with the largest span, as what is learnt is in no config.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let window = min(SoftEdge.window(span: Double(maximum), ramp: ramp), length)
    let pairs = Double(length) * Double(window) - Double(window) * Double(window - 1) / 2
    return (2 * pairs * Double(features), 0)
  }

  func span(head: Int, pass: AttentionPass) -> Double {
    span(ofShare: Double(pass.parameters[0][head]))
  }

  private func span(ofShare share: Double) -> Double { min(max(share, 0), 1) * Double(maximum) }

  /// Where the spans end, more of them makes no difference.
  func learn(spans: [Double], ownGradients: OwnParameters, pass: AttentionPass) {
    let shares = pass.parameters[0]
    for (index, derivative) in spans.enumerated() {
      let head = pass.firstHead + index
      guard 0...1 ~= shares[head] else { continue }
      let penalty = penalty / Double(shares.count)
      ownGradients[0][head] += Float((derivative + penalty) * Double(maximum))
    }
  }

  func choiceCount(length: Int) -> Int { 1 }
  func patterns(heads: Int) -> Int { heads }

  /// How many positions the head sees.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    choice[0] = Int32(SoftEdge.window(span: span(head: head, pass: pass), ramp: ramp))
  }

  func sizes(length: Int) -> [SightList.Size] { [SightList.Size(queries: length, keys: length)] }

  /// The sequence, of which each position sees itself and the last ones.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var list = SightList.Writer(sizes(length: length)[0], from: arena)
    let window = Int(choice[0])
    for position in 0..<length {
      list.key(position)
      list.query(position, sees: max(0, position + 1 - window)..<position + 1)
    }
    list.endStrand()
    return [list.list]
  }

  /// By the paper's equation (4).
  public func weight(distance: Int, head: Int, parameters: [[Double]]) -> Double {
    let span = span(ofShare: parameters[0][head])
    return min(max((Double(ramp) + span - Double(distance)) / Double(ramp), 0), 1)
  }
}
