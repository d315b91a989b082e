import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Work that threads cannot share", .serialized)
struct SerialWorkTests {
  // The worst case is one head a group: nothing but the length gives tasks. Narrow layers make the worst of it, for
  // sorting and the like cost as much as in wide ones. Measured: 0.4 to 0.5 %.
  @Test(
    "no stretch of a pass is longer than 2 % of its work",
    arguments: [AttentionKind.local, .lsh])
  func stretches(kind: AttentionKind) throws {
    let length = 65_536
    let sizes = AttentionSizes(
      local: LocalAttention(chunk: 64, chunksBefore: 1),
      lsh: LSHAttention(chunk: 64, chunksBefore: 1, hashes: 1, buckets: [32, 64]))
    let config = ReformerConfig(
      vocabulary: 256, length: length, width: 64, layers: [sizes.layer(kind)], heads: 2,
      headWidth: 32, headsPerGroup: 1, feedForwardWidth: 128, axialShape: [256, 256],
      axialWidths: [32, 32], dropout: 0.1, attentionDropout: 0.1)
    let probe = try ModelProbe(config)
    // The first pass also fetches memory.
    try probe.step()
    let recorder = WorkRecorder(probe.engine.pool)
    try probe.step()
    let share = Double(recorder.longestStretch) / Double(recorder.total)
    #expect(share <= 0.02)
    // The recorder saw the pass: every tile of 128 rows at least six times, in blocks of eight.
    #expect(recorder.tasks > 6 * length / Tiling.tileRows && recorder.computations > 6 * 64)
  }
}
