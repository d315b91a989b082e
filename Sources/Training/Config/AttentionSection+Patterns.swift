// `[attention.sliding]`, `[attention.span]`, `[attention.strided]`, `[attention.fixed]`, `[attention.bigbird]` and
// `[attention.blocks]`: the sizes of sparse patterns.
import Attention

extension AttentionSection {
  private typealias Key = SectionKey<AttentionSection>

  private static let size = Legal.from(1, to: ConfigLimits.size)
  private static let sizeOrNone = Legal.from(0, to: ConfigLimits.size)

  static let patternKeys = [
    SectionKeys(
      name: "attention.sliding",
      text: "layers that see a window of exact size, and global positions",
      keys: [
        Key(
          "window", \.sliding.window, size, .fixed,
          "Positions that one sees, itself included."),
        Key(
          "dilation", \.sliding.dilation, dilations, .fixed,
          "Steps from one position of a window to the next; a list is dealt to the heads in turn."),
        Key(
          "global", \.sliding.global, sizeOrNone, .fixed,
          "First positions that all later ones see and that see all before them."),
        Key(
          "global_every", \.sliding.globalEvery, .from(0, to: ConfigLimits.size, zero: "none"),
          .fixed,
          "Every so manieth position is such a one too; costs grow with the square of the length."),
      ]),
    SectionKeys(
      name: "attention.span",
      text: "layers whose heads learn how many of the last positions they see",
      keys: [
        Key(
          "maximum", \.span.maximum, size, .fixed,
          "Positions before its own that a head may learn to see."),
        Key(
          "ramp", \.span.ramp, .from(1, to: 1 << 16), .fixed,
          "Positions beyond its span over which what a head sees fades to nothing."),
        Key(
          "penalty", \.span.penalty, .from(0, to: 1), .fixed,
          "Nats by which the loss that gradients follow grows with each position of the mean span of a layer's heads; "
            + "no reported loss has it."),
      ]),
    SectionKeys(
      name: "attention.strided",
      text: "layers that see the last positions and every so manieth before",
      keys: [
        Key(
          "stride", \.strided.stride, size, .fixed,
          "Last positions that one sees, and the step between those before; near the root of data.length."
        )
      ]),
    SectionKeys(
      name: "attention.fixed", text: "layers that see their block and the ends of those before",
      keys: [
        Key(
          "stride", \.fixed.stride, size, .fixed,
          "Positions of a block; near the root of data.length."),
        Key(
          "summary", \.fixed.summary, sizeOrNone, .fixed,
          "Last positions of a block that all later blocks see, at most stride."),
      ]),
    SectionKeys(
      name: "attention.bigbird",
      text: "layers that see blocks just before, first ones and random ones",
      keys: [
        Key("block", \.bigBird.block, size, .fixed, "Positions of a block."),
        Key(
          "window", \.bigBird.window, size, .fixed,
          "Blocks that one sees, itself included."),
        Key(
          "global", \.bigBird.global, sizeOrNone, .fixed,
          "First blocks that all later ones see and that see all before them."),
        Key(
          "random", \.bigBird.random, .from(0, to: 1024), .fixed,
          "Random blocks between those that one sees, by head; the same in every step."),
      ]),
    SectionKeys(
      name: "attention.blocks",
      text: "layers that see blocks just before, and earlier ones chosen by content",
      keys: [
        Key("block", \.blocks.block, .from(1, to: 1 << 16), .fixed, "Positions of a block."),
        Key(
          "window", \.blocks.window, .from(1, to: 1 << 20), .fixed,
          "Blocks that one sees in any case, itself included."),
        Key(
          "top", \.blocks.top, .from(1, to: BlocksAttention.most), .fixed,
          "Earlier blocks that a position chooses by their landmarks."),
      ]),
  ]

  private static let dilations: Legal<[Int]> = {
    let text = "a whole number from 1 to \(ConfigLimits.size), or a list of 1 to 4096 such"
    let lists = Legal<[Int]>.list(1...4096, of: size)
    return Legal(
      text: text, contains: lists.contains, examples: lists.examples, takesEntry: true)
  }()
}
