// Operations of all ranks together.
import Communication
import Compute
import Glibc

func checkCollectives(
  _ communicator: MPICommunicator, _ tally: Tally
) throws(CommunicationError) {
  let rank = communicator.rank
  let size = communicator.size
  tally.expect((0..<size).contains(rank), "the rank is below the size")

  try communicator.barrier()

  let first = try communicator.firstRankHere()
  let hosts = try communicator.gatherAll(Array(hostName().utf8))
  tally.expect(
    first == hosts.firstIndex(of: hosts[rank]), "the first rank with this host's name is found")

  for root in 0..<size {
    let bytes = Buffer<UInt8>(2_500)
    if rank == root { bytes.view.fill(UInt8(root + 1)) }
    try communicator.broadcast(bytes.view.bytes, root: root)
    tally.expect(
      bytes.view.array == [UInt8](repeating: UInt8(root + 1), count: 2_500),
      "all bytes of rank \(root) arrive")
    let text = try communicator.broadcast(
      rank == root ? Array("from rank \(root)".utf8) : [], root: root)
    tally.expect(text == Array("from rank \(root)".utf8), "the count of rank \(root) arrives too")
  }

  let mine = [UInt8](repeating: UInt8(rank), count: 700 * rank)
  let all = try communicator.gatherAll(mine)
  tally.expect(
    all == (0..<size).map { [UInt8](repeating: UInt8($0), count: 700 * $0) },
    "gathered bytes are those of the ranks in order, whatever their counts")

  let doubles = try communicator.gatherAll(doubles: [Double(rank) / 3, .nan, -.zero])
  tally.expect(doubles.count == size, "one list of numbers per rank")
  for (source, values) in doubles.enumerated() {
    tally.expect(
      values.map(\.bitPattern) == [Double(source) / 3, .nan, -.zero].map(\.bitPattern),
      "numbers of rank \(source) keep their bits")
  }

  let value = Int64(10 - rank)
  tally.expect(try communicator.minimum(value) == Int64(11 - size), "the smallest value")
  tally.expect(try communicator.maximum(value) == 10, "the largest value")
  tally.expect(
    try communicator.sum(1 << 40 + value) == (0..<size).reduce(0) { $0 + 1 << 40 + Int64(10 - $1) },
    "the sum in 64 bits")
}

private func hostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  gethostname(&name, name.count - 1)
  return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
