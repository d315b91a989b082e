// The runs whose bits are pinned: one tiny model per attention kind, one of all, and one with an encoder, with dropout everywhere, two
// windows a step, a run in stages, one each with rotary and infused positions, one with plain residuals, one with counts, one of each
// other optimizer, and a resume with other threads in the middle.
import Foundation
import TestSupport
import Training

/// One pinned run.
struct GoldenRun: Sendable, CustomStringConvertible {
  let name: String
  /// `[model]`, `[attention.*]` and `[data]` keys that differ between the runs.
  let keys: String

  var description: String { name }

  static let all = [
    GoldenRun(
      name: "local",
      keys: """
        data.length = 300
        model.layers = ["local", "local"]
        model.axial_shape = [15, 20]
        model.axial_widths = [10, 22]
        model.activation = "gelu"
        attention.local.chunk = 24
        """),
    GoldenRun(
      name: "lsh",
      keys: """
        data.length = 300
        model.layers = ["lsh", "lsh"]
        model.axial_shape = [15, 20]
        model.axial_widths = [8, 24]
        attention.lsh.chunk = 16
        attention.lsh.hashes = 2
        attention.lsh.buckets = [4, 8]
        """),
    GoldenRun(
      name: "strict",
      keys: """
        data.length = 300
        model.layers = ["lsh", "local"]
        model.axial_shape = [15, 20]
        model.axial_widths = [8, 24]
        attention.lsh.sight = "bucket"
        attention.lsh.chunk = 35
        attention.lsh.chunks_before = 2
        attention.lsh.hashes = 2
        attention.lsh.buckets = [2, 4]
        attention.lsh.window = 9
        """),
    GoldenRun(
      name: "full",
      keys: """
        data.length = 300
        model.layers = ["full", "full"]
        model.axial_shape = [15, 20]
        model.axial_widths = [16, 16]
        model.heads_per_group = 2
        attention.full.shared_query_key = true
        """),
    // More than a block of positions, three axes, padding in the last chunk, bytes that are not their ids.
    GoldenRun(
      name: "mixed",
      keys: """
        data.length = 1100
        model.layers = ["local", "lsh", "full"]
        model.axial_shape = [11, 10, 10]
        model.axial_widths = [6, 10, 16]
        model.vocabulary = 258
        model.byte_offset = 2
        model.residual_fraction_bits = 20
        attention.local.chunk = 32
        attention.local.chunks_before = 2
        attention.lsh.chunk = 20
        attention.lsh.hashes = 3
        """),
    // Short windows first, with tiles of their own.
    GoldenRun(
      name: "stages",
      keys: """
        data.length = 300
        data.length_schedule.share = 0.13
        data.length_schedule.length = 100
        data.length_schedule.windows = 1
        model.layers = ["local", "lsh"]
        model.axial_shape = [15, 20]
        model.axial_widths = [8, 24]
        attention.local.chunk = 24
        attention.lsh.chunk = 16
        attention.lsh.buckets = [4, 8]
        """),
    // No table of positions, and all kinds that queries are turned in.
    GoldenRun(
      name: "rotary",
      keys: """
        data.length = 1100
        model.layers = ["local", "lsh", "full"]
        model.positions = "rotary"
        model.activation = "relu2"
        attention.local.chunk = 24
        attention.lsh.sight = "bucket"
        attention.lsh.chunk = 40
        attention.lsh.buckets = [4, 8]
        attention.lsh.window = 9
        """),
    // A quarter of what is read comes from the row before, over the edges of tiles and blocks.
    GoldenRun(
      name: "token-shift",
      keys: """
        data.length = 1100
        model.layers = ["local", "lsh"]
        model.positions = "rotary"
        model.token_shift = true
        attention.local.chunk = 24
        attention.lsh.sight = "bucket"
        attention.lsh.chunk = 40
        attention.lsh.buckets = [4, 8]
        """),
    // Positions in queries and keys alone, of several spans.
    GoldenRun(
      name: "infused",
      keys: """
        data.length = 1100
        model.layers = ["local", "sliding", "lsh"]
        model.positions = "infused"
        attention.local.chunk = 24
        attention.lsh.chunk = 40
        attention.lsh.buckets = [4, 8]
        """),
    // One stream, and activations that are stored.
    GoldenRun(
      name: "plain",
      keys: """
        data.length = 300
        model.layers = ["local", "lsh", "full"]
        model.positions = "rotary"
        model.residual = "plain"
        attention.local.chunk = 24
        attention.lsh.chunk = 16
        attention.lsh.buckets = [4, 8]
        """),
    // Fixed sparse patterns, of several tiles and spans.
    GoldenRun(
      name: "patterns",
      keys: """
        data.length = 1100
        model.layers = ["sliding", "strided", "fixed", "bigbird"]
        model.positions = "rotary"
        attention.sliding.window = 150
        attention.sliding.dilation = [1, 3]
        attention.sliding.global = 4
        attention.sliding.global_every = 60
        attention.strided.stride = 40
        attention.fixed.stride = 50
        attention.bigbird.block = 32
        """),
    // Spans that begin with nothing, of which some grow.
    GoldenRun(
      name: "span",
      keys: """
        data.length = 300
        model.layers = ["span", "local", "span"]
        model.positions = "rotary"
        attention.span.maximum = 400
        attention.span.ramp = 20
        attention.span.penalty = 0.000005
        """),
    // Blocks chosen by content.
    GoldenRun(
      name: "blocks",
      keys: """
        data.length = 300
        model.layers = ["blocks", "local"]
        model.positions = "rotary"
        attention.blocks.block = 16
        attention.blocks.top = 3
        """),
    // Streams whose layers carry over what they have seen, shorter and longer than a window, with the edge of an epoch.
    GoldenRun(
      name: "memory",
      keys: """
        data.length = 300
        data.order = "streams"
        model.layers = ["memory", "local", "memory"]
        model.positions = "rotary"
        attention.memory.rows = 400
        """),
    // Older rows that become fewer.
    GoldenRun(
      name: "compressive",
      keys: """
        data.length = 300
        data.order = "streams"
        model.layers = ["memory", "memory"]
        model.positions = "rotary"
        attention.memory.rows = 120
        attention.memory.compressed = 110
        attention.memory.ratio = 3
        """),
    // An encoder and a decoder, lines that are left out, and pairs of all lengths.
    GoldenRun(
      name: "pairs",
      keys: """
        data.task = "pairs"
        data.length = 200
        data.source_length = 200
        data.wrong_lines = "skip"
        model.kind = "encoder-decoder"
        model.layers = ["full", "local"]
        model.encoder_layers = ["local", "full"]
        model.positions = "rotary"
        model.token_shift = true
        model.vocabulary = 258
        model.byte_offset = 2
        attention.local.chunk = 24
        """),
    // Products of bf16 numbers in all kinds of layers, with the gate of relu, and sizes that pairs do not divide.
    GoldenRun(name: "bf16", keys: bf16),
    // The same in the order of AMX.
    GoldenRun(name: "bf16-blocks", keys: bf16 + "run.matrix_products = \"amx\""),
    // Rows that contexts lose to each other, and windows that come again.
    GoldenRun(
      name: "counts",
      keys: """
        data.length = 300
        model.layers = ["local"]
        model.axial_shape = [15, 20]
        model.axial_widths = [10, 22]
        model.ngrams.orders = [2, 3, 5]
        model.ngrams.rows = 400
        attention.local.chunk = 24
        """),
    GoldenRun(name: "muon", keys: optimizer + "optimizer.kind = \"muon\""),
    GoldenRun(name: "adafactor", keys: optimizer + "optimizer.kind = \"adafactor\""),
  ]

  private static let bf16 = """
    data.length = 301
    model.precision = "bf16"
    model.layers = ["local", "lsh", "full"]
    model.feed_forward_width = 45
    model.axial_shape = [16, 20]
    model.axial_widths = [8, 24]
    attention.local.chunk = 24
    attention.lsh.chunk = 16
    attention.lsh.hashes = 2

    """

  // Square, tall and wide matrices, tables and counts.
  private static let optimizer = """
    data.length = 300
    model.layers = ["local", "lsh"]
    model.axial_shape = [15, 20]
    model.axial_widths = [10, 22]
    model.ngrams.orders = [2, 3]
    model.ngrams.rows = 400
    attention.local.chunk = 24
    attention.lsh.chunk = 16
    attention.lsh.buckets = [4, 8]

    """

  private static let common = """
    data.split = [0.8, 0.1, 0.1]
    run.name = "golden"
    run.steps = 20
    run.global_batch = 2
    run.seed = 5
    run.threads = 2
    model.width = 32
    model.heads = 2
    model.head_width = 12
    model.heads_per_group = 1
    model.feed_forward_width = 40
    model.dropout = 0.1
    model.attention_dropout = 0.1
    optimizer.learning_rate = 0.01
    optimizer.schedule = "cosine"
    optimizer.warmup_steps = 4
    optimizer.weight_decay = 0.01
    """

  /// What it is trained on: text or, for pairs, the halves of its lines, of which some are empty.
  var corpus: String {
    let text = TinyRun.text(bytes: 40_000)
    guard keys.contains("\"pairs\"") else { return text }
    return text.split(separator: "\n").map { line in
      let words = line.split(separator: " ")
      let half = words.count / 2
      return words[..<half].joined(separator: " ") + "\t" + words[half...].joined(separator: " ")
        + "\n"
    }.joined()
  }

  /// The config as a file of the folder.
  func writeConfig(in folder: TemporaryFolder, corpus: String) throws -> String {
    var tables: [String: [String: String]] = ["data": ["corpus": "\"\(corpus)\""]]
    for line in (Self.common + "\n" + keys).split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1).map {
        $0.trimmingCharacters(in: .whitespaces)
      }
      let path = parts[0].split(separator: ".")
      let table = path.dropLast().joined(separator: ".")
      tables[table, default: [:]][String(path[path.count - 1])] = parts[1]
    }
    let text = tables.sorted { $0.key < $1.key }.map { table, keys in
      ConfigSection.header(of: table) + "\n"
        + keys.sorted { $0.key < $1.key }.map { "\($0) = \($1)\n" }.joined()
    }.joined()
    return try folder.write("\(name).toml", text: text)
  }
}
