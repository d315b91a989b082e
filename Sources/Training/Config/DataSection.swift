// `[data]` and `[[data.mix]]`: what is read.
import Corpus

/// `[data]`; `keys` says what each property means.
package struct DataSection: Sendable, Equatable {
  package var corpus = CorpusPaths([])
  package var length = 0
  package var split = [0.9, 0.05, 0.05]
  package var mix = MixSection()

  private typealias Key = SectionKey<DataSection>

  static let keys = SectionKeys(
    name: "data", text: "what is read",
    keys: [
      Key(
        "corpus", \.corpus, .paths, required: true, .free,
        "Corpus, its bytes in this order; on resume its content must be the same. A folder stands for "
          + "the files in it and its subfolders, by path; corpus:NAME is what launch/corpus.sh NAME "
          + "fetches. Windows never cross the edge of a file, but files shorter than a window are joined "
          + "with such files beside them. [] with [[data.mix]]."),
      Key(
        "length", \.length, .from(2, to: ConfigLimits.length), required: true,
        .fixed, "Bytes of a training window."),
      // Another split would train on bytes that were, or will be, measured on.
      Key(
        "split", \.split, .list(3...3, of: .from(0, to: 1)), .fixed,
        "Shares of training, validation and test, in this order of each corpus; they add up to 1."),
    ])
}

/// `[[data.mix]]`, column by column; `keys` says what each means.
package struct MixSection: Sendable, Equatable {
  package var name: [String] = []
  package var path: [CorpusPaths] = []
  package var weight: [Double] = []

  private typealias Key = SectionKey<MixSection>

  static let keys = SectionKeys(
    name: "data.mix", text: "several corpora in the place of data.corpus, one table for each",
    keys: [
      Key(
        "name", \.name,
        .column(
          "a name of letters, digits, \"-\", \"_\" and \".\", not first", [["books"]],
          Legal.isName), .free, "What the corpus is called in messages and metrics."),
      Key(
        "path", \.path,
        .column("a path or a list of paths as in data.corpus", [[CorpusPaths(["books"])]]) {
          !$0.paths.isEmpty && Legal.paths.contains($0)
        }, .free, "Where it is, as in data.corpus; on resume its content must be the same."),
      // Their number, order and weights decide which sample comes from which.
      Key(
        "weight", \.weight,
        .column("a number from 1e-6 to 1000000", [[1e-6], [1e6]]) { (1e-6...1e6).contains($0) },
        .fixed,
        "Its share of the samples relative to the others' weights, kept to 1/4096 of the samples and at "
          + "least that."),
    ], isListOfTables: true)
}

/// Where a corpus is: one path, or several in order.
package struct CorpusPaths: Sendable, Equatable, ExpressibleByStringLiteral {
  /// Files, folders and names such as `corpus:foldoc`.
  package var paths: [String]

  /// Takes them in order.
  package init(_ paths: [String]) { self.paths = paths }

  /// Takes one.
  package init(stringLiteral value: String) { paths = [value] }
}

extension CorpusPaths: CustomStringConvertible {
  /// For messages.
  package var description: String {
    paths.isEmpty ? "[[data.mix]]" : paths.joined(separator: ", ")
  }
}

extension CorpusPaths: ConfigField {
  static var takesText: Bool { true }
  init?(_ value: ConfigValue) {
    switch value {
    case .text(let path): paths = [path]
    case .list:
      guard let list = [String](value) else { return nil }
      paths = list
    default: return nil
    }
  }
  var configValue: ConfigValue { paths.count == 1 ? .text(paths[0]) : paths.configValue }
}

extension Legal where Value == CorpusPaths {
  /// None to many paths.
  static var paths: Self {
    Legal(
      text: "the path of a file or folder, corpus:NAME, or a list of these",
      contains: { paths in paths.paths.allSatisfy { !$0.isEmpty } })
  }
}

extension Legal {
  /// Lists with one entry for each table of a list of tables.
  fileprivate static func column<Entry: Sendable>(
    _ what: String, _ examples: [[Entry]], _ contains: @escaping @Sendable (Entry) -> Bool
  ) -> Legal where Value == [Entry] {
    Legal(
      text: what,
      contains: { $0.count <= CorpusMix.mostParts && $0.allSatisfy(contains) },
      examples: examples)
  }
}
