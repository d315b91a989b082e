// What this machine, and under mpirun the network, can do: the figures that `docs/scaling.md`
// reckons with.
import Communication
import Compute
import Foundation

/// What `doctor` found.
public struct DoctorReport: Codable, Sendable {
  /// Version of the program.
  public let program: String
  /// Name and version of the MPI library.
  public let mpi: String
  /// Cores this process may use.
  public let cores: Int
  /// Threads of a rank.
  public let threads: Int
  /// `portable`, `avx2`, `avx512`, `avx512-bf16` or `amx`.
  public let instructionSet: String
  /// Whether the environment variable `REFORMER_INSTRUCTIONS` chose it, below the processor's best.
  public let instructionSetIsForced: Bool
  /// Limit of multiply-adds on registers, all threads of a rank, in 1e9 operations per second.
  public let fmaGflops: Double
  /// Rate of our products of tiles on large matrices, all threads of a rank, in 1e9.
  public let tilesGflops: Double
  /// Limit of multiply-adds of bf16 numbers, 0 without an instruction for them.
  public let bf16Gflops: Double
  /// Rate of products of bf16 numbers, by the instruction or without.
  public let bf16TilesGflops: Double
  /// Limit of AMX, 0 where the processor has none.
  public let amxGflops: Double
  /// Rate of products of bf16 numbers with `run.matrix_products = "amx"`, 0 where the processor has no AMX.
  public let amxTilesGflops: Double
  /// Version and kernel set of OpenBLAS, the yardstick.
  public let openblas: String
  /// Its rate on the same.
  public let openblasGflops: Double
  /// Memory of the machine.
  public let memoryBytes: Int
  /// Bytes copied per second by all threads of a rank, reading and writing counted as one.
  public let memoryCopyBytesPerSecond: Double
  /// Ranks of this run.
  public let ranks: Int
  /// Names of the hosts they run on.
  public let hosts: [String]
  /// Between rank 0 and the last rank; nil for one rank.
  public let link: LinkReport?
  /// What should be changed, one line each.
  public let warnings: [String]
}

extension DoctorReport {
  /// Which precision and route of products is the fastest here.
  public var fastest: String {
    let (fp32, bf16) = (tilesGflops, bf16TilesGflops)
    guard max(bf16, amxTilesGflops) > 1.1 * fp32 else {
      return fp32 > 1.1 * bf16
        ? String(format: "model.precision = \"fp32\" is faster here, %.1f times", fp32 / bf16)
        : "either model.precision is as fast here"
    }
    let isAMX = amxTilesGflops > bf16
    return "model.precision = \"bf16\"" + (isAMX ? " with run.matrix_products = \"amx\"" : "")
      + String(format: " is faster here, %.1f times", max(bf16, amxTilesGflops) / fp32)
  }
}

/// What two ranks measured between them.
public struct LinkReport: Codable, Sendable {
  /// Half the time of a byte's way there and back.
  public let latencySeconds: Double
  /// Bytes per second and direction while both send.
  public let bytesPerSecond: Double
}

/// Examines this machine, and the way from the first to the last rank; all ranks call it.
public func examine(_ communicator: any Communicator, progress: Progress) throws -> DoctorReport {
  let cores = WorkerPool.cores
  let threads = try Placement(communicator).threads(configured: 0)
  let engine = Engine(threads: threads)
  progress.update("measuring processor and memory", isMilestone: false)
  let rates = MachineRates(engine)
  let copying = copyRate(engine)
  progress.update("measuring the network", isMilestone: false)
  let link = try measureLink(communicator)
  var name = [CChar](repeating: 0, count: 256)
  gethostname(&name, name.count - 1)
  let host = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  let hosts = try communicator.gatherAll(host).map { String(decoding: $0, as: UTF8.self) }
  var warnings: [String] = []
  let here = hosts.count { $0 == hosts[communicator.rank] }
  if here > cores {
    warnings.append(
      "\(here) ranks share \(cores) cores of this host; use at most one rank per core")
  }
  if Kernels.isInstructionSetForced {
    warnings.append(
      "REFORMER_INSTRUCTIONS holds the program at \(Kernels.instructionSet) on a processor with "
        + "\(Kernels.bestInstructionSet); unset it to train faster, with the same bits")
  } else if Kernels.instructionSet == "portable" {
    warnings.append(
      "this processor has no AVX2: training runs, tens of times slower; less so, but with bits "
        + "of its own, with run.matrix_products = \"openblas\"")
  }
  progress.finish()
  return DoctorReport(
    program: programVersion, mpi: MPICommunicator.library, cores: cores, threads: threads,
    instructionSet: Kernels.instructionSet,
    instructionSetIsForced: Kernels.isInstructionSetForced,
    fmaGflops: rates.fmaGflops, tilesGflops: rates.tilesGflops,
    bf16Gflops: rates.bf16Gflops, bf16TilesGflops: rates.bf16TilesGflops,
    amxGflops: rates.amxGflops, amxTilesGflops: rates.amxTilesGflops,
    openblas: OpenBLAS.description,
    openblasGflops: rates.openblasGflops,
    memoryBytes: Int(ProcessInfo.processInfo.physicalMemory), memoryCopyBytesPerSecond: copying,
    ranks: communicator.size, hosts: Set(hosts).sorted(), link: link, warnings: warnings)
}

/// Far more bytes than any cache holds, copied by every thread at once; the best of several tries.
func copyRate(_ engine: Engine) -> Double {
  let threads = engine.pool.threadCount
  let count = 16 << 20
  let buffers = (0..<threads).map { _ in (Buffer<Float>(count), Buffer<Float>(count)) }
  for (source, target) in buffers {
    source.view.fill(1)
    target.view.fill(0)
  }
  var best = Double.infinity
  for _ in 0..<5 {
    let start = ContinuousClock.now
    engine.pool.run(threads) { thread, _ in
      buffers[thread].1.view.copy(from: buffers[thread].0.view)
    }
    best = min(best, seconds(since: start))
  }
  return Double(threads * count * MemoryLayout<Float>.size) / best
}

/// Between rank 0 and the last rank; the others wait for them.
private func measureLink(_ communicator: any Communicator) throws -> LinkReport? {
  guard communicator.size > 1 else { return nil }
  let last = communicator.size - 1
  let bytes = Buffer<UInt8>(32 << 20)
  bytes.view.fill(1)
  /// Sends and receives half of `bytes` at once, or one after the other as in a conversation.
  func exchange(_ count: Int, inTurn: Bool) throws -> Double {
    let peer = last - communicator.rank
    let (out, arriving) = (bytes.view[0..<count], bytes.view[count..<(2 * count)])
    let send = {
      try communicator.startSend(UnsafeRawBufferPointer(out.bytes), to: peer, tag: 0)
    }
    let start = ContinuousClock.now
    let receive = try communicator.startReceive(into: arriving.bytes, from: peer, tag: 0)
    var transfers = inTurn && communicator.rank != 0 ? [] : [try send()]
    try communicator.wait(for: [receive], in: "link measurement")
    if transfers.isEmpty { transfers = [try send()] }
    try communicator.wait(for: transfers, in: "link measurement")
    return seconds(since: start)
  }
  var (talk, load) = (Double.infinity, Double.infinity)
  try communicator.barrier()
  if communicator.rank == 0 || communicator.rank == last {
    for _ in 0..<200 { talk = min(talk, try exchange(1, inTurn: true)) }
    for _ in 0..<5 { load = min(load, try exchange(16 << 20, inTurn: false)) }
  }
  try communicator.barrier()
  return LinkReport(latencySeconds: talk / 2, bytesPerSecond: Double(16 << 20) / load)
}
