import Testing
import Training

@Suite("BLEU and chrF")
struct TargetScoreTests {
  // Figures of sacrebleu 2.6.0: corpus_bleu and corpus_chrf with their defaults.
  private static let cases: [(written: [String], wanted: [String], bleu: Double, chrF: Double)] = [
    (
      ["the cat sat on the mat", "a b"], ["the cat is on the mat", "a b"], 39.484477, 64.930695
    ),
    (
      ["Hello, world! It's 3.14 (or 2,000-3).", "x"],
      ["Hello world: it's 3.14 (or 2,000-4).", "x y z."], 30.943024, 62.423302
    ),
    (
      ["Die Gr\u{F6}\u{DF}e von &quot;A&quot; &amp; B ist 5-mal...", "Klicken Sie auf OK."],
      ["Die Gr\u{F6}\u{DF}e von \"A\" & B ist 5-fach.", "Klicken Sie auf Abbrechen, dann OK."],
      65.09059, 46.479871
    ),
    (["aaaa"], ["bbbb"], 0, 0),
    ([""], ["some words here now"], 0, 0),
    (["w1 w2 w3 w4 w5 w6"], ["w1 w2 w9 w4 w5 w6 w7 w8"], 27.222303, 44.403025),
    (
      ["zero match of four grams here"], ["zero match in other grams here too"], 19.433094,
      57.215997
    ),
    (["ab", "abcdefgh"], ["abcdefgh", "ab"], 0, 32.5),
  ]

  @Test("scores are those of sacrebleu", arguments: cases.indices)
  func scores(index: Int) {
    let example = Self.cases[index]
    var (bleu, chrF) = (BLEU(), ChrF())
    for (text, wanted) in zip(example.written, example.wanted) {
      bleu.add(text, wanted: wanted)
      chrF.add(text, wanted: wanted)
    }
    #expect(abs(bleu.score - example.bleu) < 1e-5, "\(bleu.score)")
    #expect(abs(chrF.score - example.chrF) < 1e-5, "\(chrF.score)")
  }
}
