// Images that a model goes on with where they are half known.
import Compute
import Corpus

/// The first images of a split: what a model writes below their upper halves.
package struct ImageCompletions {
  /// Its name in a run folder.
  package static let name = "completions.png"
  /// Columns of gray between images, and rows.
  private static let gap = 2

  private let config: RunConfig
  private let images: [[UInt8]]
  /// Choices of each image's rest.
  private let choices: [ByteChoice]

  /// Completions of the first `count` images of `split`, one by each of `choices`.
  ///
  /// Throws where the run's data is no images, and where the split has not so many.
  package init(
    config: RunConfig, data: RunData, split: CorpusSplit, count: Int, choices: [ByteChoice]
  ) throws {
    guard config.data.task == .pixels else {
      throw UserError(
        "data.task is \(config.data.task.rawValue): only images can be completed; generate continues text"
      )
    }
    for choice in choices { try choice.check() }
    let (corpus, size) = (data.parts[0].corpus, config.data.imageBytes)
    let range = corpus.range(of: split)
    guard (1...max(1, range.count / size)).contains(count), range.count >= size else {
      throw UserError(
        "--images \(count): the \(split.rawValue) split of \(corpus.path) has \(range.count / size)"
      )
    }
    self.config = config
    self.choices = choices
    images = try (0..<count).map {
      let start = range.lowerBound + $0 * size
      return try corpus.bytes(in: start..<start + size)
    }
  }

  /// A row for each image: its upper half, what the model with these `parameters` makes of it, and the image.
  ///
  /// - `progress`: told of the share that is done. Throws where the model computes all anew for each number.
  package func grid(
    parameters: View<Float>, engine: Engine, progress: (Double) -> Void
  ) throws -> [UInt8] {
    let generator = try Generator(config: config, parameters: parameters, engine: engine)
    guard generator.isIncremental else {
      throw UserError(
        "not strictly causal, so that all of an image would be computed again for each number; train with "
          + "attention.lsh.sight = \"bucket\"")
    }
    let (rows, columns, channels) = (
      config.data.image[0], config.data.image[1], config.data.image[2]
    )
    let across = choices.count + 2
    var grid = PNGImage(
      rows: images.count * (rows + Self.gap) - Self.gap,
      columns: across * (columns + Self.gap) - Self.gap, channels: channels, gray: 128)
    for (index, image) in images.enumerated() {
      // At least a number is given.
      let given = image.prefix(max(1, rows / 2 * columns * channels))
      func put(_ part: some Collection<UInt8>, _ place: Int) {
        grid.put(
          part, width: columns, row: index * (rows + Self.gap),
          column: place * (columns + Self.gap))
      }
      put(given, 0)
      for (place, choice) in choices.enumerated() {
        put(try completed(Array(given), count: image.count, generator, choice), place + 1)
        progress(Double(index * choices.count + place + 1) / Double(images.count * choices.count))
      }
      put(image, across - 1)
    }
    return grid.bytes
  }

  private func completed(
    _ given: [UInt8], count: Int, _ generator: Generator, _ choice: ByteChoice
  ) throws -> [UInt8] {
    var image = given
    var logits = try generator.begin(given)
    while image.count < count {
      image.append(choice.byte(logits, number: image.count))
      if image.count < count { logits = try generator.add(image[image.count - 1]) }
    }
    return image
  }
}
