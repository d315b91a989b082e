// What a resumed run may change.

extension RunConfig {
  /// Keys that differ from the config a checkpoint was written with, and may not.
  ///
  /// Each as `model.width: 256 in the checkpoint, 512 now`; none when the run may go on. The rest
  /// (steps, learning rate, logging, threads, paths, ...) may change; that the corpus' content did
  /// not is for its digest to say.
  public func differencesThatForbidResume(from saved: RunConfig) -> [String] {
    differences(from: saved, .fixed)
  }

  /// Keys that differ from the config a checkpoint was written with, and may.
  public func differencesThatAllowResume(from saved: RunConfig) -> [String] {
    differences(from: saved, .free)
  }

  private func differences(from saved: RunConfig, _ onResume: OnResume) -> [String] {
    ConfigKey.all.compactMap { key in
      let (old, new) = (key.get(saved), key.get(self))
      guard key.onResume == onResume, old != new else { return nil }
      return "\(key.name): \(old.toml) in the checkpoint, \(new.toml) now"
    }
  }
}
