// `[optimizer]`: how parameters follow gradients.
import Optimizers

extension OptimizerKind: ConfigChoice {}

/// `[optimizer]`; `keys` says what each property means.
package struct OptimizerSection: Sendable, Equatable {
  package var kind = OptimizerKind.adam
  package var learningRate = 5e-4
  package var schedule = ScheduleKind.constant
  package var finalRate = 0.1
  package var decayShare = 1.0
  package var warmupSteps = 100
  package var beta1 = 0.9
  package var beta2 = 0.98
  package var epsilon = 1e-9
  package var momentum = 0.95
  package var weightDecay = 0.0
  package var clip = 1.0
  package var average = 0.0

  /// Kernels take these as 32-bit numbers, where they must neither vanish nor overflow.
  private static let (least, most) = (1e-30, 1e30)

  private typealias Key = SectionKey<OptimizerSection>

  static let keys = SectionKeys(
    name: "optimizer", text: "how parameters follow gradients",
    keys: [
      Key(
        "kind", \.kind, .any, .fixed,
        "The method. muon: orthogonal steps for the matrices of layers, adam for the rest. adafactor: squares by row "
          + "and column, in little memory. Both want whole tensors, so a rank owns whole parts of the model."
      ),
      Key(
        "learning_rate", \.learningRate, .from(least, to: most), .free,
        "Peak learning rate. With adafactor, as a share of the root mean square of a tensor."),
      Key(
        "schedule", \.schedule, .any, .free,
        "Course of the learning rate after warm-up: constant, with the inverse square root of the step, or "
          + "down half a cosine or a line."),
      Key(
        "final_rate", \.finalRate, .from(0, to: 1), .free,
        "What cosine and linear end at, as a share of the peak."),
      Key(
        "decay_share", \.decayShare, .from(0, to: 1), .free,
        "Last share of the run's bytes, over which cosine and linear fall; until then the rate is held. 1: "
          + "from the end of warm-up."),
      Key(
        "warmup_steps", \.warmupSteps, .from(0, to: 1_000_000_000), .free,
        "Steps of linear warm-up."),
      Key(
        "beta1", \.beta1, .from(0, below: 1), .free,
        "Adam's decay of the average of gradients."),
      Key(
        "beta2", \.beta2, .from(0, below: 1), .free,
        "Adam's decay of the average of squared gradients."),
      Key(
        "epsilon", \.epsilon, .from(least, to: 1), .free,
        "What Adam adds to the root of the second moment."),
      Key(
        "momentum", \.momentum, .from(0, below: 1), .free,
        "Muon's decay of the average of gradients."),
      Key(
        "weight_decay", \.weightDecay, .from(0, to: most), .free,
        "Decoupled weight decay of matrices."),
      Key(
        "clip", \.clip, .from(0, to: most, zero: "for no clipping"), .free,
        "Largest norm of the gradient."),
      Key(
        "average", \.average, .from(0, below: 1), .fixed,
        "Decay per step of an average of the parameters, scored beside them and saved; 0 keeps none."
      ),
    ])
}
