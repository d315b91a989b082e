// Messages between two ranks.
import Communication
import Compute

func checkMessages(_ communicator: MPICommunicator, _ tally: Tally) throws(CommunicationError) {
  try exchangeRing(communicator, tally, counts: [1, 332, 333, 334, 666, 0, 77_777])
}

/// Sizes at which real gradients travel: more than any eager buffer, in whole and in pieces.
func checkLargeMessages(
  _ communicator: MPICommunicator, _ tally: Tally
) throws(CommunicationError) {
  for pieceBytes in [1 << 30, 1_000_003] {
    MPICommunicator.setPieceBytes(pieceBytes)
    try exchangeRing(communicator, tally, counts: [24 << 20])
  }
  MPICommunicator.setPieceBytes(1 << 30)
}

/// Everybody sends to everybody, several messages with one tag, and sends before receives.
private func exchangeRing(
  _ communicator: MPICommunicator, _ tally: Tally, counts: [Int]
) throws(CommunicationError) {
  let rank = communicator.rank
  let peers = (0..<communicator.size).filter { $0 != rank }
  var transfers: [Transfer] = []
  var outgoing: [Buffer<UInt8>] = []
  var incoming: [(peer: Int, buffer: Buffer<UInt8>)] = []
  for count in counts {
    for peer in peers {
      let buffer = Buffer<UInt8>(count)
      fill(buffer.view, from: rank, to: peer)
      outgoing.append(buffer)
      transfers.append(
        try communicator.startSend(UnsafeRawBufferPointer(buffer.view.bytes), to: peer, tag: 5))
    }
  }
  for count in counts {
    for peer in peers {
      let buffer = Buffer<UInt8>(count)
      incoming.append((peer, buffer))
      transfers.append(try communicator.startReceive(into: buffer.view.bytes, from: peer, tag: 5))
      try communicator.progress()
    }
  }
  try communicator.wait(for: transfers, in: "message check")
  let expected = Buffer<UInt8>(counts.max() ?? 0)
  for (peer, buffer) in incoming {
    let part = expected.view[0..<buffer.count]
    fill(part, from: peer, to: rank)
    tally.expect(
      part.bytes.elementsEqual(buffer.view.bytes), "\(buffer.count) bytes from rank \(peer)")
  }
  withExtendedLifetime(outgoing) {}
}

/// Everybody has more messages for everybody than can be under way: prints the most that a look between two
/// tiles asked MPI, and the mean, over all ranks, and what a look and a question took.
func countTests(_ communicator: MPICommunicator) throws(CommunicationError) {
  let (looks, messages, bytes) = (300, 4, 8 << 10)
  let peers = (0..<communicator.size).filter { $0 != communicator.rank }
  let outgoing = Buffer<UInt8>(bytes)
  fill(outgoing.view, from: communicator.rank, to: 0)
  var transfers: [Transfer] = []
  for _ in 0..<messages {
    for peer in peers {
      transfers.append(
        try communicator.startSend(UnsafeRawBufferPointer(outgoing.view.bytes), to: peer, tag: 7))
    }
  }
  // Nobody receives yet, so nothing can end: the most there can be to look at.
  var (most, total) = (0, 0)
  let start = ContinuousClock.now
  for _ in 0..<looks {
    let before = MPICommunicator.testCount
    try communicator.progress()
    let tests = MPICommunicator.testCount - before
    (most, total) = (max(most, tests), total + tests)
  }
  let microseconds = (ContinuousClock.now - start) / .microseconds(1)
  try communicator.barrier()
  let incoming = Buffer<UInt8>(bytes * messages * peers.count)
  for index in 0..<(messages * peers.count) {
    let part = incoming.view[index * bytes..<(index + 1) * bytes]
    transfers.append(
      try communicator.startReceive(into: part.bytes, from: peers[index % peers.count], tag: 7))
  }
  try communicator.wait(for: transfers, in: "count of tests")
  let expected = Buffer<UInt8>(bytes)
  var isRight = true
  for index in 0..<(messages * peers.count) {
    fill(expected.view, from: peers[index % peers.count], to: 0)
    let part = incoming.view[index * bytes..<(index + 1) * bytes]
    isRight = isRight && part.bytes.elementsEqual(expected.view.bytes)
  }
  let (all, sum) = (try communicator.maximum(Int64(most)), try communicator.sum(Int64(total)))
  let allRight = try communicator.minimum(isRight ? 1 : 0) == 1
  if communicator.rank == 0 {
    let mean = Double(sum) / Double(looks * communicator.size)
    print(
      "at most \(all) tests a look, \(mean) in the mean; contents \(allRight ? "right" : "WRONG"); "
        + "\(microseconds / Double(looks)) us a look, \(microseconds / Double(max(total, 1))) us a test "
        + "on rank 0")
  }
  try communicator.finish()
}

private func fill(_ view: View<UInt8>, from source: Int, to target: Int) {
  for index in 0..<view.count {
    view.base[index] = UInt8(truncatingIfNeeded: index &* 31 &+ (index >> 8) &+ 7 * source + target)
  }
}

/// Errors come back with words and MPI's number, on the rank that waits.
func checkMessageErrors(
  _ communicator: MPICommunicator, _ tally: Tally
) throws(CommunicationError) {
  guard communicator.size > 1 else { return }
  let bytes = Buffer<UInt8>(100)
  if communicator.rank == 0 {
    for count in [100, 50] {
      let part = UnsafeRawBufferPointer(bytes.view[0..<count].bytes)
      let transfer = try communicator.startSend(part, to: 1, tag: 6)
      try communicator.wait(for: [transfer], in: "error check")
    }
  }
  if communicator.rank == 1 {
    let cases = [
      (50, "gradient exchange with rank 0 failed on rank 1: message truncated (MPI 15)"),
      (
        100, "gradient exchange with rank 0 failed on rank 1: the other rank sent too few bytes"
      ),
    ]
    for (count, message) in cases {
      let transfer = try communicator.startReceive(
        into: bytes.view[0..<count].bytes, from: 0, tag: 6)
      // Before anyone waits, a look at what goes on tells; a message takes its time to come.
      var early = "no error"
      let limit = ContinuousClock.now + .seconds(30)
      while early == "no error", ContinuousClock.now < limit {
        early = failure { () throws(CommunicationError) in try communicator.progress() }
      }
      tally.expect(
        early.hasPrefix("exchange between the ranks failed on rank 1: "), "\"\(early)\" in progress"
      )
      let error = failure { () throws(CommunicationError) in
        try communicator.wait(for: [transfer], in: "gradient exchange")
      }
      tally.expect(error == message, "\"\(message)\", not \"\(error)\"")
      tally.expect(
        failure { () throws(CommunicationError) in try communicator.progress() } == "no error",
        "an error is over once it was waited for")
      let again = failure { () throws(CommunicationError) in
        try communicator.wait(for: [transfer], in: "second wait")
      }
      tally.expect(again == "second wait failed on rank 1: no such message", again)
    }
  }
  try communicator.barrier()
}

private func failure(_ body: () throws(CommunicationError) -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch {
    return error.description
  }
}
