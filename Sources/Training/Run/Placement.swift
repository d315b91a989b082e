// Where a rank runs: how many others share its machine and its cores, and so how many threads it takes.
import Communication
import Compute
import Foundation

/// A rank's share of its machine.
public struct Placement: Sendable {
  /// Ranks on this rank's machine, itself included.
  public let ranksHere: Int
  /// Cores this rank may use.
  let cores: Int
  /// Ranks of this machine that may use the very same cores.
  public let ranksOnCores: Int

  /// Finds out with the other ranks; all of them call it.
  public init(_ communicator: any Communicator) throws(CommunicationError) {
    let machine = "\(try communicator.firstRankHere())"
    let places = try communicator.gatherAll(Array("\(machine) \(Self.allowedCores)".utf8))
      .map { String(decoding: $0, as: UTF8.self) }
    self.init(places: places, rank: communicator.rank, cores: WorkerPool.cores)
  }

  /// A program that runs alone.
  public static var alone: Placement {
    Placement(places: [""], rank: 0, cores: WorkerPool.cores)
  }

  /// A rank of a run that is only planned, `ranksHere` of them on a machine like this one.
  public static func planned(ranksHere: Int) -> Placement {
    Placement(
      places: [String](repeating: "", count: ranksHere), rank: 0, cores: WorkerPool.cores)
  }

  /// `places`: of each rank, its machine, a blank, and the cores it is bound to.
  package init(places: [String], rank: Int, cores: Int) {
    let machine = places[rank].prefix { $0 != " " }
    ranksHere = places.count { $0.prefix { $0 != " " } == machine }
    ranksOnCores = places.count { $0 == places[rank] }
    self.cores = cores
  }

  /// Threads of this rank: the configured number, or for 0 its share of the cores it may use.
  ///
  /// A rank that the launcher bound to cores of its own uses all of them; ranks with the same cores, all
  /// cores of the machine for one, divide them.
  public func threads(configured: Int) -> Int {
    configured == 0 ? max(1, cores / ranksOnCores) : configured
  }

  /// What is wrong with the number of a rank's threads, if anything: launchers bind ranks to cores of their own.
  public func objection(toThreads threads: Int) -> String? {
    guard threads > cores else { return nil }
    let shared = cores == 1 ? "1 core" : "\(cores) cores"
    return "\(threads) threads of a rank on \(shared) take turns; where the launcher binds ranks, "
      + "give it more (mpirun --bind-to none, as launch/local.sh), or set run.threads=\(cores)"
  }

  /// The cores this process is bound to, such as `0-3,8`.
  private static var allowedCores: String {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
    return line?.split { $0 == " " || $0 == "\t" }.last.map(String.init) ?? ""
  }
}
