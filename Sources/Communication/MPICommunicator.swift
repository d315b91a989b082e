// Ranks as processes under MPI: the only importer of CComm, and the only place that turns its codes
// into errors.
import CComm
import Compute
import Glibc

/// This process as one rank of an MPI run.
///
/// At most one per process, used from the thread that started it.
public final class MPICommunicator: Communicator {
  /// This rank, in `0..<size`.
  public let rank: Int
  /// Number of ranks, N.
  public let size: Int
  /// Seconds a single wait for other ranks may last before it fails; 0 for no limit.
  public var waitLimit = 0.0 {
    didSet { ccomm_set_wait_limit(waitLimit) }
  }
  // The other side of each message under way, to name it in errors.
  private var peers: [Int: Int] = [:]
  private let thread = pthread_self()

  /// Whether this process was started as a rank by mpirun or srun.
  ///
  /// A plain run answers false and needs no MPI. `variable` looks up an environment variable.
  public static func underLauncher(
    variable: (String) -> String? = MPICommunicator.environment
  ) -> Bool {
    // Open MPI, MPICH-style and PMIx launchers set these for ranks only. Slurm sets its variables in
    // interactive steps of one task too, hence the count.
    if ["OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMIX_RANK"].contains(where: { variable($0) != nil }) {
      return true
    }
    return variable("SLURM_STEP_ID") != nil && launchedRanks(variable: variable) ?? 1 > 1
  }

  /// How many ranks the launcher says it started, or nil when it says nothing.
  package static func launchedRanks(variable: (String) -> String?) -> Int? {
    // Under mpirun inside Slurm, Slurm's counts are those of mpirun's helpers: Open MPI's come first.
    let names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]
    return names.compactMap { variable($0).flatMap { Int($0) } }.first
  }

  /// The value of an environment variable of this process.
  public static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// Starts MPI.
  ///
  /// - Throws: when MPI cannot start, or when the launcher started several ranks that MPI does not
  ///   connect, which would otherwise train as many separate copies.
  public static func start() throws(CommunicationError) -> MPICommunicator {
    try check(ccomm_start(), "start of MPI", rank: 0)
    var rank: Int32 = 0
    var size: Int32 = 0
    try check(ccomm_rank(&rank), "start of MPI", rank: 0)
    try check(ccomm_size(&size), "start of MPI", rank: Int(rank))
    try checkConnected(size: Int(size), launched: launchedRanks(variable: environment))
    return MPICommunicator(rank: Int(rank), size: Int(size))
  }

  package static func checkConnected(size: Int, launched: Int?) throws(CommunicationError) {
    guard size == 1, let launched, launched > 1 else { return }
    throw CommunicationError(
      operation: "start of MPI", rank: 0,
      reason: "the launcher started \(launched) ranks but MPI connects only 1; "
        + "use mpirun, or srun --mpi=pmix")
  }

  /// Name and version of the MPI library, such as `Open MPI v4.1.4`.
  public static var library: String {
    var text = [CChar](repeating: 0, count: 256)
    ccomm_library(&text, text.count)
    return words(text)
  }

  /// Sums `values` over all ranks by `MPI_Allreduce`: what our own reduction is measured against.
  public func sumByMPI(_ values: View<Float>) throws(CommunicationError) {
    try check(ccomm_allreduce_f32(values.base, values.count), "MPI_Allreduce")
  }

  /// Cuts messages in pieces of this many bytes, for tests; real runs use the largest MPI allows.
  package static func setPieceBytes(_ bytes: Int) { ccomm_set_piece_bytes(bytes) }

  /// How often MPI was asked whether a message is through.
  package static var testCount: Int { Int(ccomm_test_count()) }

  private init(rank: Int, size: Int) {
    self.rank = rank
    self.size = size
  }

  /// Ends MPI once every rank has come here; nothing may be called afterwards.
  public func finish() throws(CommunicationError) { try check(ccomm_finish(), "end of MPI") }

  /// The lowest of the ranks that share this rank's machine.
  public func firstRankHere() throws(CommunicationError) -> Int {
    var first: Int32 = 0
    try check(ccomm_first_rank_here(&first), "search for ranks of this machine")
    return Int(first)
  }

  /// Returns when every rank has come here.
  public func barrier() throws(CommunicationError) { try check(ccomm_barrier(), "barrier") }

  /// Overwrites `bytes` with those of rank `root`.
  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CommunicationError) {
    precondition((0..<size).contains(root), "broadcast from rank \(root) of \(size)")
    try check(ccomm_broadcast(bytes.baseAddress, bytes.count, Int32(root)), "broadcast")
  }

  /// Every rank's bytes, by rank.
  public func gatherAll(_ bytes: [UInt8]) throws(CommunicationError) -> [[UInt8]] {
    var counts = [Int64](repeating: 0, count: size)
    try check(ccomm_gather_counts(Int64(bytes.count), &counts), "gather")
    var all = [UInt8](repeating: 0, count: Int(counts.reduce(0, +)))
    try check(ccomm_gather_bytes(bytes, counts, &all), "gather")
    var start = 0
    return counts.map { count in
      defer { start += Int(count) }
      return Array(all[start..<(start + Int(count))])
    }
  }

  /// One integer from those of all ranks.
  public func reduce(
    _ value: Int64, _ reduction: IntegerReduction
  ) throws(CommunicationError) -> Int64 {
    let operation =
      switch reduction {
      case .minimum: CCOMM_MINIMUM
      case .maximum: CCOMM_MAXIMUM
      case .sum: CCOMM_SUM
      }
    var result = value
    try check(ccomm_reduce_i64(&result, 1, Int32(operation)), "reduction")
    return result
  }

  /// Starts to receive a message of exactly `bytes.count` bytes.
  public func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) throws(CommunicationError) -> Transfer {
    checkPeer(source, tag: tag)
    var handle: Int32 = 0
    try check(
      ccomm_receive(bytes.baseAddress, bytes.count, Int32(source), Int32(tag), &handle),
      "receive from rank \(source)")
    peers[Int(handle)] = source
    return Transfer(handle: Int(handle))
  }

  /// Starts to send a message.
  public func startSend(
    _ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int
  ) throws(CommunicationError) -> Transfer {
    checkPeer(target, tag: tag)
    var handle: Int32 = 0
    try check(
      ccomm_send(bytes.baseAddress, bytes.count, Int32(target), Int32(tag), &handle),
      "send to rank \(target)")
    peers[Int(handle)] = target
    return Transfer(handle: Int(handle))
  }

  /// Lets messages under way move.
  public func progress() throws(CommunicationError) {
    try check(ccomm_progress(), "exchange between the ranks")
  }

  /// Returns when all `transfers` are through.
  public func wait(for transfers: [Transfer], in operation: String) throws(CommunicationError) {
    for transfer in transfers {
      let peer = peers.removeValue(forKey: transfer.handle).map { " with rank \($0)" } ?? ""
      try check(ccomm_wait(Int32(transfer.handle)), operation + peer)
    }
  }

  /// Ends every rank; mpirun exits with `code`.
  public func abort(code: Int32) { ccomm_abort(code) }

  private func check(
    _ call: @autoclosure () -> Int32, _ operation: String
  ) throws(CommunicationError) {
    precondition(
      pthread_equal(thread, pthread_self()) != 0,
      "\(operation): MPI belongs to the thread of its start")
    let code = call()
    guard code != CCOMM_TIMED_OUT else {
      throw CommunicationError(
        operation: operation, rank: rank, reason: CommunicationError.noAnswer(waitLimit))
    }
    try Self.check(code, operation, rank: rank)
  }

  private static func check(
    _ code: Int32, _ operation: String, rank: Int
  ) throws(CommunicationError) {
    guard code != 0 else { return }
    var text = [CChar](repeating: 0, count: 512)
    ccomm_error_text(code, &text, text.count)
    throw CommunicationError(
      operation: operation, rank: rank, reason: words(text),
      mpiClass: code > 0 ? Int(ccomm_error_class(code)) : nil)
  }

  private static func words(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
