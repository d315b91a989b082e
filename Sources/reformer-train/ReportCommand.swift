// `reformer-train report`: a picture of one or several runs.
import ArgumentParser
import Foundation
import Training

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Draw one or several runs: an HTML file that needs nothing else.",
    discussion: """
      A run writes this page at its end, as report.html in its folder. Of several runs curves lie over each other, and \
      a table says what differs between their configs.
      """)

  @Argument(help: "Run folders.")
  var runs: [String]

  @Option(help: "File to write (default: report.html in the run folder; needed with several runs).")
  var output: String?

  @Flag(
    help: """
      Draw also what bzip2, xz and zstd need for the bytes of the prequential score, as far as they are installed; \
      takes the time of compressing them.
      """)
  var compressors = false

  @Option(help: "Write no page, but an event file for TensorBoard of each run into this folder.")
  var tensorboard: String?

  @Option(
    help: ArgumentHelp(
      "Write no page, but show it to this machine's browsers at http://localhost:PORT, as the runs are now and go on, "
        + "until Ctrl-C; 0 for any free port.", valueName: "port"))
  var serve: Int?

  func run() throws {
    if let serve {
      guard output == nil, !compressors, tensorboard == nil else {
        throw UserError(
          "--serve writes nothing; leave --output, --compressors and --tensorboard out")
      }
      let server = try ReportServer(folders: runs, port: serve)
      print("http://localhost:\(server.port)/")
      fflush(nil)
      server.run()
    }
    if let tensorboard {
      guard output == nil, !compressors else {
        throw UserError("--tensorboard writes no page; leave --output and --compressors out")
      }
      try RunPage(folders: runs).writeEvents(to: tensorboard)
      return print(tensorboard)
    }
    guard let path = output ?? (runs.count == 1 ? runs[0] + "/" + RunPage.name : nil) else {
      throw UserError("\(runs.count) runs: name the file to write with --output")
    }
    try RunPage(folders: runs, compressing: compressors).write(to: path)
    print(path)
  }
}
