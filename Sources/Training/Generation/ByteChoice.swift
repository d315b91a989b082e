// How a byte is chosen from the logits of all.
import Compute
import Reformer

/// Which bytes may come, and how likely: greedy, or drawn by chance.
public struct ByteChoice: Sendable {
  /// Logits are divided by it; 0 takes the likeliest byte.
  public var temperature = 1.0
  /// Only so many of the likeliest bytes may come; 0 for all.
  public var topK = 0
  /// Only the likeliest bytes may come that together have this share, or more with the last of them.
  public var topP = 1.0
  /// Of the random numbers.
  public var seed: UInt64 = 1

  /// Any of the bytes as likely as the model says.
  public init() {}

  /// Throws where a number is not legal.
  public func check() throws(UserError) {
    guard temperature.isFinite, temperature >= 0 else {
      throw UserError("--temperature \(temperature); legal values: 0 or more")
    }
    guard (0...256).contains(topK) else {
      throw UserError("--top-k \(topK); legal values: 0 to 256, 0 for all")
    }
    guard topP > 0, topP <= 1 else {
      throw UserError("--top-p \(topP); legal values: above 0, at most 1")
    }
  }

  /// Byte `number` of a text, from the logits `[256]` of all bytes; a function of these, the seed and the number.
  ///
  /// Of bytes that are equally likely the smaller one counts as likelier.
  public func byte(_ logits: View<Float>, number: Int) -> UInt8 {
    precondition(logits.count == 256, "logits of \(logits.count) bytes")
    let logits = logits.array
    let likeliest = logits.indices.reduce(0) { logits[$1] > logits[$0] ? $1 : $0 }
    guard temperature > 0 else { return UInt8(likeliest) }
    var candidates = Array(0..<256)
    if topK > 0 || topP < 1 {
      candidates.sort { (-logits[$0], $0) < (-logits[$1], $1) }
      if topK > 0 { candidates.removeLast(256 - topK) }
    }
    // All that the choice depends on is the same on every machine.
    let weights = candidates.map {
      DoubleFunctions.exp((Double(logits[$0]) - Double(logits[likeliest])) / temperature)
    }
    var (kept, sum) = (weights.count, weights.reduce(0, +))
    if topP < 1 {
      let wanted = topP * sum
      (kept, sum) = (0, 0)
      while kept < weights.count, kept == 0 || sum < wanted {
        sum += weights[kept]
        kept += 1
      }
    }
    let bits = RandomAddress(seed: seed, step: 0, sample: 0).stream(.sampling).bits(number)
    var left = (Double(bits) + 0.5) / 0x1p32 * sum
    for (byte, weight) in zip(candidates, weights).prefix(kept) {
      left -= weight
      if left < 0 { return UInt8(byte) }
    }
    return UInt8(likeliest)
  }
}
