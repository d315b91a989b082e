import Communication
import Compute
import Testing

@Suite("Gradient accumulator")
struct GradientAccumulatorTests {
  @Test(
    "the total has the bits of the recursive definition",
    arguments: [1, 2, 3, 4, 5, 6, 7, 8, 12])
  func order(samples: Int) {
    let accumulator = GradientAccumulator(count: RandomGradients.layout.count)
    for sample in 0..<samples {
      RandomGradients.fill(accumulator.next(), sample: sample)
      accumulator.push()
    }
    let expected = RandomGradients.referenceSum(samples: samples)
    #expect(accumulator.total().array.bits == expected.bits)
    #expect(accumulator.total().array.bits == expected.bits, "asking again changes nothing")
  }

  @Test("threads do not change the bits")
  func threads() {
    let accumulator = GradientAccumulator(
      count: RandomGradients.layout.count, pool: WorkerPool(threadCount: 3))
    for sample in 0..<6 {
      RandomGradients.fill(accumulator.next(), sample: sample)
      accumulator.push()
    }
    #expect(accumulator.total().array.bits == RandomGradients.referenceSum(samples: 6).bits)
  }

  @Test("summing the last sample part by part gives the same bits", arguments: [1, 2, 3, 4, 7, 8])
  func lastInParts(samples: Int) {
    let layout = RandomGradients.layout
    let accumulator = GradientAccumulator(count: layout.count)
    let expected = RandomGradients.referenceSum(samples: samples)
    for _ in 0..<2 {
      for sample in 0..<(samples - 1) {
        RandomGradients.fill(accumulator.next(), sample: sample)
        accumulator.push()
      }
      RandomGradients.fill(accumulator.next(), sample: samples - 1)
      for group in layout.groups.reversed() {
        let sum = accumulator.sumLast(group.range)
        #expect(sum[group.range].array.bits == Array(expected[group.range]).bits)
      }
      #expect(accumulator.total().array.bits == expected.bits)
    }
    #expect(accumulator.bufferCount == GradientAccumulator.bufferCount(samples: samples))
  }

  @Test(
    "memory is one buffer more than the logarithm of the samples, over any number of steps",
    arguments: [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (9, 4), (16, 5)])
  func memory(samples: Int, buffers: Int) {
    let accumulator = GradientAccumulator(count: 10)
    for _ in 0..<3 {
      for _ in 0..<samples {
        let gradient = accumulator.next()
        gradient.fill(1)
        accumulator.push()
      }
      #expect(accumulator.total().array == [Float](repeating: Float(samples), count: 10))
    }
    #expect(accumulator.bufferCount == buffers)
    #expect(GradientAccumulator.bufferCount(samples: samples) == buffers)
  }

  @Test("one sample is its own total, in the same memory")
  func oneSample() {
    let accumulator = GradientAccumulator(count: 10)
    let gradient = accumulator.next()
    gradient.fill(-0.0)
    accumulator.push()
    #expect(accumulator.total().base == gradient.base)
    // Adding anything, zero included, would have made the sign positive.
    #expect(accumulator.total()[3].sign == .minus)
  }

  @Test("a total with parts of the last sample missing stops the program")
  func missingPart() async {
    await #expect(processExitsWith: .failure) {
      let accumulator = GradientAccumulator(count: 10)
      _ = accumulator.next()
      _ = accumulator.sumLast(0..<4)
      _ = accumulator.total()
    }
  }
}
