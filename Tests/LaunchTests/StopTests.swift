// Signals to the launch scripts: the first stops a run with a checkpoint, the second ends one that is stuck.
import Foundation
import TestSupport
import Testing

@Suite("Stopping from the terminal", .serialized, .needs(.mpirun))
struct StopTests {
  let tiny: TinyRun
  let standIns: StandIns

  init() throws {
    tiny = try TinyRun()
    standIns = try StandIns()
  }

  /// Runs `script` for ever on two ranks; `act` is called once it trains.
  private func run(_ script: String, _ name: String, act: (Process) -> Void) throws -> ProgramRun {
    let two = try standIns.folder.write("two", text: "localhost slots=2")
    return try ProgramRun(
      script: script,
      [
        script == "local.sh" ? "2" : two, "--config", tiny.config, "--output", tiny.output(name),
        "--set", "run.steps=1000000", "--set", "run.wait_limit_seconds=0",
      ],
      environment: ["OMPI_MCA_plm_rsh_agent": try standIns.add("ssh", #"shift; sh -c "$*""#)],
      when: "step 5/", act: act)
  }

  @Test("the first Ctrl-C ends a run with a checkpoint", arguments: ["local.sh", "hosts.sh"])
  func first(script: String) throws {
    let run = try run(script, "first") { kill($0.processIdentifier, SIGINT) }
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("once more ends the run as it is"), "\(run.output)")
    #expect(run.output.contains("stopped by a signal after step"), "\(run.output)")
    #expect(try tiny.digest("first").count == 2)
  }

  @Test("the second ends a run whose ranks answer no more", arguments: ["local.sh", "hosts.sh"])
  func second(script: String) throws {
    let run = try run(script, "second") { process in
      let stuck = trainers(with: tiny.output("second"))
        .filter { kill($0, 0) == 0 && isRank($0) }
      #expect(stuck.count == 2)
      for rank in stuck { kill(rank, SIGSTOP) }
      kill(process.processIdentifier, SIGINT)
      sleep(1)
      kill(process.processIdentifier, SIGINT)
      // A script that does not end is ended, or the test would not.
      for _ in 0..<300 where process.isRunning { usleep(100_000) }
      #expect(!process.isRunning)
      for rank in stuck { kill(rank, SIGKILL) }
      process.terminate()
    }
    #expect(run.status == 1, "\(run.output)")
    #expect(run.output.contains("ending the run as it is"), "\(run.output)")
    #expect(trainers(with: tiny.output("second")).isEmpty)
  }

  private func isRank(_ process: pid_t) -> Bool {
    let environment = FileManager.default.contents(atPath: "/proc/\(process)/environ") ?? Data()
    return String(decoding: environment, as: UTF8.self).contains("OMPI_COMM_WORLD_RANK=")
  }
}
