// The sum of gradients over ranks against the same samples on one rank.
import Communication
import Compute

func checkReduction(_ communicator: MPICommunicator, _ tally: Tally) throws(CommunicationError) {
  // Three segments, one, and nine: ranks with empty, equal and unequal pieces.
  let layout = ParameterLayout(groups: [
    ("embeddings", [("embeddings.weight", [3_000])]),
    ("layers.0", [("layers.0.weight", [70])]),
    ("head", [("head.weight", [90, 100]), ("head.bias", [100])]),
  ])
  let reduction = GradientReduction(communicator: communicator, layout: layout)
  let accumulator = GradientAccumulator(count: layout.count)
  for localSamples in [1, 2, 3, 4] {
    let batch = localSamples * communicator.size
    let expected = try sumOnOneRank(layout, batch: batch)
    let first = communicator.rank * localSamples

    // In the order of a training step: groups become final from the last to the first.
    var gradients = accumulator.next()
    for sample in first..<(first + localSamples) {
      fill(gradients, layout, sample: sample)
      if sample < first + localSamples - 1 {
        accumulator.push()
        gradients = accumulator.next()
      }
    }
    for group in layout.groups.indices.reversed() {
      let sum = accumulator.sumLast(layout.groups[group].range)
      try reduction.start(group: group, gradients: sum)
      try communicator.progress()
    }
    let total = accumulator.total()
    try reduction.finish(gradients: total)
    let squaredNorm = try reduction.squaredNorm(gradients: total)
    try reduction.startGather(parameters: total)
    try communicator.progress()
    try reduction.endGather()

    let sameBits = GradientReduction.sameBits(globalBatch: batch, ranks: communicator.size)
    let claim = "\(batch) samples on \(communicator.size) ranks"
    if sameBits {
      tally.expect(equalBits(total, expected.view), "\(claim): the bits of one rank")
    } else {
      // Each of batch - 1 additions of numbers below batch rounds by at most half a unit of 2^-23.
      let bound = Float(batch * batch) * 0x1p-23
      tally.expect(
        (0..<layout.count).allSatisfy { abs(total[$0] - expected.view[$0]) <= bound },
        "\(claim): the sum of one rank up to rounding")
    }
    let solo = GradientReduction(communicator: SoloCommunicator(), layout: layout)
    tally.expect(
      try solo.squaredNorm(gradients: total) == squaredNorm, "\(claim): the norm of one rank")
  }
}

private func sumOnOneRank(
  _ layout: ParameterLayout, batch: Int
) throws(CommunicationError) -> Buffer<Float> {
  let accumulator = GradientAccumulator(count: layout.count)
  for sample in 0..<batch {
    fill(accumulator.next(), layout, sample: sample)
    accumulator.push()
  }
  let sum = Buffer<Float>(layout.count)
  sum.view.copy(from: accumulator.total())
  return sum
}

private func fill(_ gradients: View<Float>, _ layout: ParameterLayout, sample: Int) {
  for slot in layout.slots {
    for index in slot.range { gradients[index] = randomFloat(sample, index) }
  }
}

private func equalBits(_ a: View<Float>, _ b: View<Float>) -> Bool {
  (0..<a.count).allSatisfy { a[$0].bitPattern == b[$0].bitPattern }
}
