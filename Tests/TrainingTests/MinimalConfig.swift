/// A config of the required keys alone, for tests that add theirs.
enum MinimalConfig {
  /// All keys but those of positions.
  static let toml = """
    run.name = "test"
    run.steps = 10
    data.corpus = "books.txt"
    data.length = 4096
    model.width = 64
    model.layers = ["local", "lsh"]
    model.heads = 4
    model.head_width = 16
    model.feed_forward_width = 128

    """
  /// Axial positions that fit it.
  static let axes = """
    model.axial_shape = [64, 64]
    model.axial_widths = [16, 48]

    """
}
