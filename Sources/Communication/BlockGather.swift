// Blocks of known sizes from every rank to every rank.
import Compute

extension Communicator {
  /// Gives every rank the blocks of all: `blocks[rank]` of `values` goes out, the others are overwritten.
  ///
  /// All ranks call it with the same blocks, which do not overlap.
  public func gather<Element>(
    _ values: View<Element>, blocks: [Range<Int>]
  ) throws(CommunicationError) {
    precondition(blocks.count == size, "\(blocks.count) blocks of \(size) ranks")
    var transfers: [Transfer] = []
    for peer in 0..<size where peer != rank && !blocks[peer].isEmpty {
      transfers.append(
        try startReceive(into: values[blocks[peer]].bytes, from: peer, tag: Self.blockTag))
    }
    for peer in 0..<size where peer != rank && !blocks[rank].isEmpty {
      transfers.append(
        try startSend(
          UnsafeRawBufferPointer(values[blocks[rank]].bytes), to: peer, tag: Self.blockTag))
    }
    try wait(for: transfers, in: "gather of blocks")
  }

  /// Beside those of `GradientReduction`, which count from 0.
  private static var blockTag: Int { 32767 }
}
