import Corpus
import Testing

@Suite("Step plan")
struct StepPlanTests {
  /// Powers of two; sizes that share few factors; a stage too small for a block.
  private static let ramps: [(stages: [Stage], block: Int, steps: Int)] = [
    ([Stage(share: 1, length: 7, windows: 3)], 7, 20),
    (
      [
        Stage(share: 0.25, length: 4, windows: 1), Stage(share: 0.25, length: 16, windows: 2),
        Stage(share: 0.5, length: 64, windows: 4),
      ], 64, 500
    ),
    (
      [Stage(share: 0.4, length: 6, windows: 5), Stage(share: 0.6, length: 15, windows: 2)], 90, 333
    ),
    (
      [Stage(share: 0.001, length: 8, windows: 1), Stage(share: 0.999, length: 32, windows: 1)], 32,
      9
    ),
  ]

  @Test(
    "the steps' windows follow each other without a gap, and none crosses a block", arguments: ramps
  )
  func order(stages: [Stage], block: Int, steps: Int) {
    let plan = StepPlan(stages: stages, block: block, steps: steps)
    #expect(plan.steps == steps && plan.stepCounts.count == stages.count)
    var (index, position) = (0, 0)
    // The last stage goes on past the end of the run.
    for step in 1...steps + 20 {
      #expect(plan.bytes(steps: step - 1) == Double(position))
      let samples = plan.samples(step: step)
      #expect(samples.count == plan.stage(ofStep: step).windows)
      for sample in samples {
        #expect(sample.index == index && sample.position == position)
        #expect(position / block == (position + sample.length - 1) / block)
        index += 1
        position += sample.length
      }
    }
  }

  @Test("a stage has its share of the bytes, to a step's worth of blocks", arguments: ramps)
  func shares(stages: [Stage], block: Int, steps: Int) {
    let plan = StepPlan(stages: stages, block: block, steps: steps)
    let all = plan.bytes(steps: steps)
    var before = 0
    for (stage, count) in zip(stages, plan.stepCounts).dropLast() {
      let bytes = plan.bytes(steps: before + count) - plan.bytes(steps: before)
      #expect(bytes.truncatingRemainder(dividingBy: Double(block)) == 0)
      #expect(abs(bytes - stage.share * all) < Double(2 * block * stage.windows + stage.stepBytes))
      before += count
    }
  }

  @Test("ranks share a step's windows in contiguous runs", arguments: [1, 2, 3, 4, 5, 8, 16])
  func ranks(ranks: Int) {
    let plan = StepPlan(
      stages: [Stage(share: 0.5, length: 2, windows: 4), Stage(share: 0.5, length: 4, windows: 8)],
      block: 8, steps: 30)
    for step in [1, 10, 29, 30] {
      let whole = plan.samples(step: step)
      let parts = (0..<ranks).map { plan.samples(step: step, rank: $0, ranks: ranks) }
      #expect(parts.flatMap { $0 } == whole)
      let (least, rest) = whole.count.quotientAndRemainder(dividingBy: ranks)
      #expect(parts.allSatisfy { $0.count == least || (rest > 0 && $0.count == least + 1) })
    }
  }
}
