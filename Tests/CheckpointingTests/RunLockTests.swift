import Checkpointing
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("Run lock")
struct RunLockTests {
  private let folder: TemporaryFolder
  private var run: String { folder.path("run") }

  init() throws { folder = try TemporaryFolder() }

  private func take(patience: Double = 0) throws -> RunLock {
    try RunLock(taking: run, patience: patience) { _ in }
  }

  @Test("a folder in use is refused with the holder's name, and free again after it")
  func exclusive() throws {
    var first: RunLock? = try take()
    #expect(first?.isHeld == true)
    let refusal = #expect(throws: CheckpointError.self) { try take() }
    #expect(refusal?.description.hasPrefix("\(run): another run writes here (") == true)
    #expect(refusal?.description.contains("process \(getpid())") == true)
    first = nil
    #expect(try take().isHeld)
  }

  @Test("a straggler of a dead run still keeps the next one out")
  func stragglers() throws {
    var first: RunLock? = try take()
    var other: RunLock? = try RunLock(joining: run, patience: 0)
    withExtendedLifetime(first) {}
    first = nil
    #expect(throws: CheckpointError.self) { try take() }
    withExtendedLifetime(other) {}
    other = nil
    #expect(try take().isHeld)
  }

  @Test("whoever waits gets the folder when the holder is gone")
  func patience() throws {
    let first = Holder(try take())
    var names: [String] = []
    Thread.detachNewThread {
      usleep(200_000)
      first.release()
    }
    // Far more than the 0.2 s, so that only a lock that is never seen to be free fails.
    let second = try RunLock(taking: run, patience: 60) { names.append($0) }
    #expect(second.isHeld)
    #expect(names.count == 1)
  }

  private final class Holder: Sendable {
    private let lock = Mutex<RunLock?>(nil)
    init(_ held: RunLock) { lock.withLock { $0 = held } }
    func release() { lock.withLock { $0 = nil } }
  }

  @Test("a run that ends before it begins leaves no folder, but never removes one it found")
  func unused() throws {
    try take().removeUnused()
    #expect(!FileManager.default.fileExists(atPath: run))
    try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: false)
    try take().removeUnused()
    #expect(FileManager.default.fileExists(atPath: run))
  }

  @Test("joining where rank 0 is not is refused, also in a folder of that name")
  func otherHost() throws {
    #expect(throws: CheckpointError.self) { try RunLock(joining: run, patience: 0) }
    try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: false)
    #expect(throws: CheckpointError.self) { try RunLock(joining: run, patience: 0) }
    #expect(!FileManager.default.fileExists(atPath: "\(run)/\(RunLock.name)"))
  }

  @Test("a folder that this host does not see yet is waited for")
  func lateFolder() throws {
    // Rank 0 has it for long; what comes late is the sight of it.
    let (path, elsewhere) = (run, "\(run)-elsewhere")
    let first = Holder(try RunLock(taking: elsewhere, patience: 0) { _ in })
    Thread.detachNewThread {
      usleep(200_000)
      rename(elsewhere, path)
    }
    #expect(try RunLock(joining: run, patience: 60).isHeld)
    first.release()
  }

  @Test("a lock that is a link is not followed")
  func link() throws {
    try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: false)
    let victim = try folder.write("victim", text: "precious")
    try FileManager.default.createSymbolicLink(
      atPath: "\(run)/\(RunLock.name)", withDestinationPath: victim)
    let refusal = #expect(throws: CheckpointError.self) { try take() }
    #expect(refusal?.description == "\(run)/run.lock: is a symbolic link; remove it")
    #expect(throws: CheckpointError.self) { try RunLock(joining: run, patience: 0) }
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
  }
}
