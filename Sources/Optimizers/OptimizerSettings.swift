// Which optimizer, and its constants.

/// Optimizers a config may name.
public enum OptimizerKind: String, Codable, Sendable, CaseIterable {
  /// Adam with decoupled weight decay, number by number.
  case adam
  /// Muon for the matrices of layers, Adam for the rest.
  case muon
  /// Adafactor, tensor by tensor.
  case adafactor

  /// Whether tensors are updated as wholes, so that one rank must own all of each.
  public var needsWholeTensors: Bool { self != .adam }
}

/// An optimizer and its constants; those of Adam are by default those of the Reformer paper's runs.
public struct OptimizerSettings: Sendable, Equatable {
  /// The method.
  public var kind: OptimizerKind
  /// Adam's decay of the average of gradients.
  public var beta1: Double
  /// Adam's decay of the average of squared gradients.
  public var beta2: Double
  /// What Adam adds to the root of the second moment.
  public var epsilon: Double
  /// Muon's decay of the average of gradients.
  public var momentum: Double
  /// Weight decay; each step subtracts `rate * weightDecay * parameter` where decay applies.
  public var weightDecay: Double
  /// Decay of the average of the parameters; 0 keeps none.
  public var average: Double

  /// All constants at once.
  public init(
    kind: OptimizerKind = .adam, beta1: Double = 0.9, beta2: Double = 0.98, epsilon: Double = 1e-9,
    momentum: Double = 0.95, weightDecay: Double = 0, average: Double = 0
  ) {
    self.kind = kind
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.average = average
  }
}
