// `reformer-train complete`: images that go on where half of them is given.
import ArgumentParser
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Training

struct CompleteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "complete",
    abstract: "Give the model upper halves of images, and let it write the rest.",
    discussion: """
      For runs with data.task = "pixels". The picture has a row for each image: what is given, samples, and the image. \
      In the run folder, where it goes without --output, the next report shows it.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(help: "Images, the first ones of the split.")
  var images = 6

  @Option(help: "Samples of each, by seeds that follow each other.")
  var samples = 3

  @Option(help: "Split of the corpus: train, validation or test.")
  var split = CorpusSplit.test

  @Option(
    help: "How freely numbers are chosen: 0 takes the likeliest, 1 each as often as the model says."
  )
  var temperature = 1.0

  @Option(
    help: "Of the first sample: the same seed gives the same image, at any number of threads.")
  var seed: UInt64 = 1

  @Option(
    help: ArgumentHelp(
      "The picture (default: completions.png in the run folder).", valueName: "path"),
    completion: .file())
  var output: String?

  @Flag(help: "Use the averaged parameters (optimizer.average) instead of the last ones.")
  var averaged = false

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  func run() throws {
    guard images > 0, samples > 0, threads >= 0 else {
      throw UserError(
        "--images \(images), --samples \(samples), --threads \(threads); legal values: 1 or more twice, 0 or more"
      )
    }
    let progress = Progress(rank: 0)
    var stored = try Checkpoint.open(checkpoint, report: progress.notice)
    if averaged { stored = try stored.averaged() }
    MatrixProducts.current = stored.config.run.matrixProducts
    let completions = try ImageCompletions(
      config: stored.config,
      data: RunData(
        config: stored.config, communicator: SoloCommunicator(), progress: progress),
      split: split, count: images,
      choices: (0..<samples).map { number in
        var choice = ByteChoice()
        (choice.temperature, choice.seed) = (temperature, seed &+ UInt64(number))
        return choice
      })
    let picture = try stored.withParameters { parameters in
      try completions.grid(
        parameters: parameters,
        engine: Engine(threads: Placement.alone.threads(configured: threads))
      ) { progress.update("\(Int($0 * 100)) %", isMilestone: false) }
    }
    progress.finish()
    let run = URL(fileURLWithPath: stored.folder).deletingLastPathComponent().path
    let path = output ?? run + "/" + ImageCompletions.name
    try SmallFile.replace(path, with: picture)
    progress.message(path)
  }
}
