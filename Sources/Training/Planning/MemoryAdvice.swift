// Whether a run fits in the memory there is, and what would fit if it does not.
import Communication
import Reformer

extension RunConfig {
  /// Smaller runs that stay within `budget` bytes per rank, each as a change of this config and its peak.
  ///
  /// For each of heads per group, length, width and ranks: the least change that is enough alone.
  public func smallerRuns(
    within budget: Int, ranks: Int, threads: Int
  ) -> [(change: String, peakBytes: Int)] {
    func peak(_ config: RunConfig, ranks: Int) -> Int {
      MemoryPlan(config, ranks: ranks, threads: threads).peakRssBytes
    }
    func first(
      _ values: [Int], _ name: (Int) -> String, ranks: Int, _ change: (inout RunConfig, Int) -> Void
    ) -> (String, Int)? {
      for value in values {
        var config = self
        change(&config, value)
        let bytes = peak(config, ranks: ranks)
        if bytes <= budget { return (name(value), bytes) }
      }
      return nil
    }
    func halves(_ value: Int, downTo smallest: Int) -> [Int] {
      sequence(first: value / 2) { $0 / 2 }.prefix { $0 >= smallest }.map { $0 }
    }
    let groups = (1..<max(model.headsPerGroup, 1)).reversed().filter { model.heads % $0 == 0 }
    let moreRanks = (ranks + 1..<max(run.globalBatch, ranks) + 1)
      .filter { run.globalBatch % $0 == 0 }
    return [
      first(groups, { "model.heads_per_group = \($0)" }, ranks: ranks) {
        $0.model.headsPerGroup = $1
      },
      first(
        halves(data.length, downTo: 1024), { "data.length = \($0)" }, ranks: ranks
      ) { $0.data.length = $1 },
      first(
        halves(model.width, downTo: 32), { "model.width = \($0) (and model.axial_widths)" },
        ranks: ranks
      ) { $0.model.width = $1 },
      moreRanks.lazy.map { ("\($0) ranks", peak(self, ranks: $0)) }.first { $0.1 <= budget },
    ].compactMap { $0 }
  }

  /// Bytes a rank may take, `ranksHere` of them on this machine: the config's budget, else its share of
  /// what is available; nil where neither is known.
  public func memoryBudget(ranksHere: Int) -> Int? {
    run.memoryBudgetGB > 0
      ? Int(run.memoryBudgetGB * 1e9) : MachineMemory.availableBytes.map { $0 / ranksHere }
  }

  /// Refuses a run whose plan exceeds the budget.
  ///
  /// - Throws: `UserError` with the plan, the budget and what would fit.
  func requireMemory(ranks: Int, placement: Placement) throws {
    let (ranksHere, threads) = (placement.ranksHere, placement.threads(configured: run.threads))
    let peak = MemoryPlan(self, ranks: ranks, threads: threads).peakRssBytes
    guard let budget = memoryBudget(ranksHere: ranksHere), peak > budget else { return }
    let limit =
      run.memoryBudgetGB > 0
      ? "run.memory_budget_gb = \(run.memoryBudgetGB)"
      : "\(amount(Double(budget), "B")) free for each of the \(ranksHere) ranks on this machine "
        + "(set run.memory_budget_gb to plan with another amount)"
    let smaller = smallerRuns(within: budget, ranks: ranks, threads: threads).map(\.change)
    throw UserError(
      "the run needs about \(amount(Double(peak), "B")) per rank, more than \(limit); "
        + (smaller.isEmpty
          ? "no single change makes it fit"
          : "what would fit: \(smaller.joined(separator: ", or "))"))
  }
}
