import Attention
import Testing

@Suite("Attention kinds")
struct AttentionKindTests {
  @Test("each name gives its layer with the projections of Hugging Face's state dict")
  func projections() {
    let lsh = LSHAttention(chunk: 8, chunksBefore: 1, hashes: 1, buckets: [4])
    let local = LocalAttention(chunk: 8, chunksBefore: 1)
    func projections(_ name: String, shared: Bool = false) -> [String]? {
      AttentionKind(rawValue: name).map {
        AttentionSizes(local: local, lsh: lsh, fullSharedQueryKey: shared).layer($0).projections
      }
    }
    #expect(projections("lsh") == ["query_key", "value"])
    #expect(projections("local") == ["query", "key", "value"])
    #expect(projections("full") == ["query", "key", "value"])
    #expect(projections("full", shared: true) == ["query_key", "value"])
    #expect(projections("sparse") == nil)
  }

  // Worked by hand from Hugging Face's rule: a power of two near 2 * length / chunk, in two factors
  // near its root once it exceeds 2 * max(sqrt(length / chunk), chunk); never less than a pair.
  @Test(
    "automatic bucket counts",
    arguments: [
      (length: 64, chunk: 64, buckets: [2]), (1024, 64, [32]), (4096, 64, [128]),
      (8192, 64, [16, 16]), (65536, 64, [32, 64]), (96, 16, [8]), (10, 64, [2]),
    ])
  func automaticBuckets(length: Int, chunk: Int, buckets: [Int]) {
    #expect(
      LSHAttention.automaticBuckets(
        length: length, longestLength: length, chunk: chunk) == buckets)
  }

  @Test("bucket count and rotation width follow from the factors")
  func widths() {
    let sizes = LSHAttention(chunk: 8, chunksBefore: 1, hashes: 3, buckets: [4, 6])
    #expect(sizes.bucketCount == 24)
    #expect(sizes.rotationWidth == 5)
  }
}
