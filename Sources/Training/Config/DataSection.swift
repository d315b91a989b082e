// `[data]`: what is read.

/// `[data]`; `keys` says what each property means.
package struct DataSection: Sendable, Equatable {
  package var corpus = ""
  package var length = 0
  package var split = [0.9, 0.05, 0.05]

  static let keys = ConfigSection(
    name: "data", text: "what is read",
    keys: [
      ConfigKey(
        "data.corpus", \.data.corpus, .text("the path of a file") { !$0.isEmpty },
        required: true, .free, "Path of the corpus; on resume its content must be the same."),
      ConfigKey(
        "data.length", \.data.length, .from(2, to: RunConfig.largestLength), required: true,
        .fixed, "Bytes of a training window."),
      // Another split would train on bytes that were, or will be, measured on.
      ConfigKey(
        "data.split", \.data.split, .list(3...3, of: .from(0, to: 1)), .fixed,
        "Shares of training, validation and test, in this order of the corpus; they add up to 1."),
    ])
}
