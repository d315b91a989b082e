// What stands for `"auto"`.
import Attention

extension RunConfig {
  /// Heads per group where the config says `"auto"`: the largest divisor of `heads` for which a
  /// group's `[L, heads, K]` buffer stays within 16 MiB, and at least 1.
  ///
  /// Depends on the config alone, never on the machine: the group size is part of what fixes the
  /// bits.
  public static func automaticHeadsPerGroup(heads: Int, headWidth: Int, length: Int) -> Int {
    let limit = 16 << 20
    return (1...max(heads, 1)).last {
      heads % $0 == 0 && $0 * headWidth * length * 4 <= limit
    } ?? 1
  }

  /// Lowers `"auto"` heads per group until the plan is within `run.memory_budget_gb`, if there is one.
  ///
  /// Judged for one rank with one thread, so that the choice depends on the config alone.
  mutating func fitHeadsPerGroup() {
    guard run.memoryBudgetGB > 0 else { return }
    let divisors = (1...model.headsPerGroup).reversed().filter { model.heads % $0 == 0 }
    for count in divisors {
      model.headsPerGroup = count
      let plan = MemoryPlan(self, ranks: 1, threads: 1)
      if Double(plan.peakRssBytes) <= run.memoryBudgetGB * 1e9 { return }
    }
  }

  /// Replaces what stands for `"auto"` by numbers; leaves alone what validation will refuse.
  mutating func resolveAutomatic() {
    let longest = max(data.length, data.sourceLength)
    if model.headsPerGroup == 0, model.heads * model.headWidth <= ConfigLimits.size {
      model.headsPerGroup = Self.automaticHeadsPerGroup(
        heads: model.heads, headWidth: model.headWidth, length: longest)
    }
    if attention.lsh.buckets.isEmpty {
      attention.lsh.buckets = LSHAttention.automaticBuckets(
        length: longest, longestLength: longest, chunk: attention.lsh.chunk)
    }
  }
}
