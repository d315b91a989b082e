// Adam with decoupled weight decay, number by number.
import CKernels
import Compute

/// Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019).
enum Adam {
  /// One step on numbers that need not belong together.
  static func update(
    _ parameters: View<Float>, _ gradients: View<Float>, first: View<Float>, second: View<Float>,
    _ settings: OptimizerSettings, decay: Double, factors: UpdateFactors
  ) {
    // In double: 1 - beta2 is small, and beta^t in float loses digits of it.
    let step = Double(factors.step)
    let firstCorrection = 1 - DoubleFunctions.power(settings.beta1, step)
    let secondCorrection = 1 - DoubleFunctions.power(settings.beta2, step)
    ck_adam(
      parameters.base, gradients.base, first.base, second.base, parameters.count,
      Float(factors.gradientScale), Float(factors.rate), Float(settings.beta1),
      Float(settings.beta2), Float(settings.epsilon), Float(decay), Float(firstCorrection),
      Float(secondCorrection))
  }
}
